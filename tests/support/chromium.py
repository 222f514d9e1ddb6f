"""Headless Chromium, driven through its DevTools protocol: what a page asks for, logs, and looks like."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]
SECONDS = 30  # that anything may take


def find() -> str | None:
    """The browser's path, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """One tab. `requests` are the addresses it asked for, `errors` what its console and network reported."""

    def __init__(self, profile: Path) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._ids = itertools.count(1)
        command = [find() or "", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._socket = self._connect(profile)
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._process.kill()
            raise

    def _connect(self, profile: Path) -> Any:
        import websocket

        port = _wait(lambda: _port(profile / "DevToolsActivePort"))
        tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=SECONDS))
        (address,) = [tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"]
        return websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; events that come in between are kept."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._keep(message.get("method"), message.get("params", {}))

    def _keep(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Network.loadingFailed" and not params.get("canceled"):
            self.errors.append(f"loading failed: {params['errorText']}")
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(str([a.get("value", a.get("description")) for a in params["args"]]))
        elif event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))

    def size(self, width: int, height: int) -> None:
        """Width and height of the window in CSS pixels; a phone below 600."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def open(self, address: str) -> None:
        """Go there and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self.until(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until the expression is true; TimeoutError says which one never was."""
        _wait(lambda: self.value(script), script)

    def picture(self, file: Path) -> None:
        """A PNG of the window."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(SECONDS)


def _port(file: Path) -> str | None:
    lines = file.read_text().splitlines() if file.exists() else []
    return lines[0] if len(lines) > 1 else None


def _wait(condition: Any, what: str = "Chromium did not start") -> Any:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError(what)
