"""How good a ranking is: rank-k and mAP."""

from stmga.metrics.ranking import NoMatchError, RankScores, average_precision, match_places, rank_scores

__all__ = ["NoMatchError", "RankScores", "average_precision", "match_places", "rank_scores"]
