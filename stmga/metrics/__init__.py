"""How good a ranking is, counted by a stated protocol: CMC, mAP, mINP, re-ranking, thresholds."""

from stmga.metrics.calibrate import Calibration, Threshold, calibrate
from stmga.metrics.counting import match_ranks
from stmga.metrics.evaluation import Evaluation, evaluate
from stmga.metrics.network_table import NetworkRow, NetworkTable, evaluate_networks
from stmga.metrics.protocol import Protocol, Reranking
from stmga.metrics.ranking import NoMatchError, RankScores, average_precision, rank_scores
from stmga.metrics.reranking import rerank

__all__ = [
    "Calibration",
    "Evaluation",
    "NetworkRow",
    "NetworkTable",
    "NoMatchError",
    "Protocol",
    "RankScores",
    "Reranking",
    "Threshold",
    "average_precision",
    "calibrate",
    "evaluate",
    "evaluate_networks",
    "match_ranks",
    "rank_scores",
    "rerank",
]
