"""The libraries of the extra `track`, imported when they are used; an error names what to install."""

from __future__ import annotations

from typing import Any

EXTRA = 'pip install "stmga[track]"'


def require_cv2() -> Any:
    """OpenCV.

    Raises:
        ImportError: it is not installed, or a library of the system that it needs is not.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ImportError(f"the detector `motion` needs OpenCV: {EXTRA}") from error
    except ImportError as error:  # a bare Debian lacks libGL and GLib
        hint = (
            "apt-get install libgl1 libglib2.0-0"
            if "cannot open shared object" in str(error)
            else "see that its system libraries are installed"
        )
        raise ImportError(f"OpenCV cannot be loaded ({error}): {hint}") from error
    return cv2


def require_trackers() -> tuple[Any, Any]:
    """The modules ``trackers`` and ``supervision``.

    Raises:
        ImportError: they are not installed.
    """
    require_cv2()
    try:
        import supervision
        import trackers
    except ImportError as error:
        raise ImportError(f"tracking needs the libraries trackers and supervision ({error}): {EXTRA}") from error
    return trackers, supervision
