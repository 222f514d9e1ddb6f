"""Storage of weights: records, folders, the Hugging Face Hub, model cards."""

from stmga.hub.records import WeightRecord, WeightsError
from stmga.hub.store import load, load_record, push, save

__all__ = ["WeightRecord", "WeightsError", "load", "load_record", "push", "save"]
