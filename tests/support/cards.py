"""A record, and what the Hub reads in the card of a record."""

import dataclasses

from huggingface_hub import ModelCard

from stmga.hub.card import model_card
from stmga.hub.records import WeightRecord
from tests.support.hub import REPO, TINY

RECORD = WeightRecord(name="stmga_tiny.test", config=TINY, sha256="0" * 64, repo_id=REPO, revision="1" * 40)


def metadata(**entries):
    """What huggingface_hub finds in the card of such a record."""
    return ModelCard(model_card(dataclasses.replace(RECORD, **entries))).data
