"""Take the screenshots of docs/dashboard.md: TensorBoard in a headless Chromium.

It needs two or more finished runs, chromium and chromium-driver, and `pip install selenium`:
`python docs/make_screenshots.py --logdir runs --run small`.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The projector draws with WebGL, which there is in software only.
    "--enable-unsafe-swiftshader",
)

LARGEST = 190_000
"""Bytes that an image may take."""

DEEP = """
const found = [];
const walk = (root) => {
  for (const node of root.querySelectorAll('*')) {
    if (node.matches(arguments[0])) found.push(node);
    if (node.shadowRoot) walk(node.shadowRoot);
  }
};
walk(document);
const text = (node) => {
  if (node.nodeType == Node.TEXT_NODE) return node.textContent;
  if (['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.tagName)) return '';
  const inner = node.shadowRoot ? [...node.shadowRoot.childNodes] : [];
  return [...inner, ...node.childNodes].map(text).join(' ').replace(/\\s+/g, ' ');
};
"""
"""Script that finds the elements of a selector in the document and in all its shadow roots.

It also defines ``text``, which returns what an element shows, that of its shadow roots included.
"""


def missing() -> str | None:
    """Say what is needed to drive a browser and is not installed; None if nothing is."""
    if not any(map(shutil.which, BROWSERS)):
        return "no Chromium: apt-get install chromium chromium-driver"
    return (
        None if shutil.which("chromedriver") else "no chromedriver: apt-get install chromium-driver"
    )


@contextmanager
def serve(logdir: Path, patience: float = 60) -> Iterator[str]:
    """Run TensorBoard on a free port of this machine; give its address.

    Args:
        logdir: Folder of the runs.
        patience: Seconds to wait for the first answer.

    Raises:
        TimeoutError: If there is no answer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--reload_interval", "5"]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + patience
        while True:
            try:
                with urllib.request.urlopen(f"{address}/data/runs", timeout=5) as answer:
                    if len(answer.read()) > 2:  # not an empty list: the events are read
                        break
            except OSError:
                pass
            if time.monotonic() > end or server.poll() is not None:
                raise TimeoutError(f"TensorBoard did not answer at {address}.")
            time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def browse(width: int = 1500, height: int = 1000) -> Iterator[webdriver.Chrome]:
    """Start a headless Chromium with a fresh profile.

    Args:
        width: Width of the window, in pixels.
        height: Height of the window, in pixels.
    """
    options = Options()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        driver.set_page_load_timeout(60)
        driver.set_script_timeout(30)
        try:
            yield driver
        finally:
            driver.quit()


def show(driver: webdriver.Chrome, address: str, tab: str, tags: str = "", runs: str = "") -> None:
    """Open a tab of TensorBoard anew.

    Args:
        driver: The browser.
        address: Address of TensorBoard.
        tab: Name of the tab in the address, such as ``custom_scalars``.
        tags: Regular expression of the tags that are shown; all if empty.
        runs: Regular expression of the runs that are shown; all if empty.
    """
    driver.switch_to.default_content()
    driver.get("about:blank")  # a new fragment alone would not load the page again
    # The tab of time series reads its filters from the query, the others from the fragment.
    query = f"&tagFilter={tags}" * bool(tags) + f"&runFilter={runs}" * bool(runs)
    fragment = f"&tagFilter={tags}" * bool(tags) + f"&regexInput={runs}" * bool(runs)
    driver.get(f"{address}/?darkMode=false{query}#{tab}{fragment}")


def ask(driver: webdriver.Chrome, selector: str, script: str, patience: float = 45) -> object:
    """Run a script on the elements of a selector until it returns something.

    Args:
        driver: The browser.
        selector: Looked up in the document and in all its shadow roots.
        script: JavaScript; the elements are in ``found``.
        patience: Seconds to try.

    Raises:
        TimeoutError: If nothing true is returned in time.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := driver.execute_script(DEEP + script, selector):
            return value
        time.sleep(0.3)
    raise TimeoutError(f"No answer from '{selector}' to: {script}")


def enter_projector(driver: webdriver.Chrome) -> None:
    """Go into the two nested frames of the projector, and wait for its points."""
    driver.switch_to.frame(ask(driver, "iframe[src*=projector]", "return found[0]"))
    driver.switch_to.frame(ask(driver, "iframe", "return found[0]"))
    ask(driver, ".numDataPoints", "return found.some(x => Number(x.innerText) > 0)")


def save(driver: webdriver.Chrome, path: Path) -> None:
    """Write what is seen as a PNG with a palette, scaled down until it is small."""
    time.sleep(2)  # lines are drawn with an animation
    image = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    for scale in (1.0, 0.85, 0.7, 0.6):
        size = (round(image.width * scale), round(image.height * scale))
        # Of the ways to choose a palette, this one also keeps the colours of few pixels.
        small = image.resize(size, Image.Resampling.LANCZOS)
        small = small.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        if path.stat().st_size < LARGEST:
            break


def take(address: str, output: Path, run: str) -> None:
    """Take all screenshots.

    Args:
        address: Address of TensorBoard.
        output: Folder of the images.
        run: Name of the run that is shown alone where runs are not compared.
    """
    alone = f"^{run}/"
    with browse(1400, 1000) as driver:
        show(driver, address, "timeseries", "val/", alone)
        ask(driver, "scalar-card", "return found.length > 3")
        save(driver, output / "dashboard_time_series.png")

        show(driver, address, "scalars", "val/", alone)
        ask(driver, "tf-scalar-card", "return found.length > 3")
        save(driver, output / "dashboard_scalars.png")

        show(driver, address, "custom_scalars", runs=alone)
        ask(driver, "vz-line-chart2", "return found.length > 6")
        save(driver, output / "dashboard_custom_scalars.png")

        show(driver, address, "projector")
        enter_projector(driver)
        panel = "vz-projector-data-panel"
        for option in ("selectedColorOptionName", "selectedLabelOption"):
            ask(driver, panel, f"found[0].{option} = 'supernode_2'; return true")
        save(driver, output / "dashboard_projector.png")

    with browse(1800, 800) as driver:
        show(driver, address, "hparams")
        ask(driver, "vaadin-grid-cell-content", "return found.length > 20")
        save(driver, output / "dashboard_runs.png")

    with browse(1400, 1500) as driver:
        show(driver, address, "text", runs=alone)
        ask(driver, "tf-markdown-view", "return found.length > 2")
        save(driver, output / "dashboard_text.png")

    heights = {"forecast": 2750, "hierarchy": 2650, "attention": 2450, "whole_graph": 1500}
    for group, height in heights.items():
        with browse(1600, height) as driver:
            show(driver, address, "images", group, alone)
            ask(driver, "img", "return found.length && found.every(x => x.naturalWidth > 0)")
            ask(driver, "paper-checkbox", "found[0].click(); return true")
            save(driver, output / f"dashboard_{group}.png")


def main() -> None:
    """Take the screenshots of the runs in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logdir", type=Path, default=Path("runs"))
    parser.add_argument("--run", default="small", help="run that is shown alone")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images")
    arguments = parser.parse_args()
    if reason := missing():
        raise SystemExit(f"Screenshots need a browser: {reason}.")
    with serve(arguments.logdir) as address:
        take(address, arguments.output, arguments.run)


if __name__ == "__main__":
    main()
