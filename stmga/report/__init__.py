"""Pages and videos that people look at: who was linked to whom, ranked matches, boxes with global ids."""

from stmga.report.drawing import DrawnVideo, draw_video, draw_videos
from stmga.report.people import Report, check_report, write_report
from stmga.report.search import write_search_page

__all__ = ["DrawnVideo", "Report", "check_report", "draw_video", "draw_videos", "write_report", "write_search_page"]
