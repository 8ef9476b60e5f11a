"""The page of a study as its reader has it: a file in a real browser, with no network."""

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from outputs import make_row, make_study, prepare, simulate, write_diagnosis, write_outputs
from playwright.sync_api import Browser, Error, Page, sync_playwright

from pipeline import paths, report
from pipeline.params.planned import PlannedStudy
from pipeline.params.studies import Study
from pipeline.reporting import page
from pipeline.reporting.section import Picture, Section, Words

Open = Callable[..., Page]
CLASSES = 4
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
HOSTILE = "</script><script>console.error('breached')</script>"
ROWS = {
    "plain": (0.7, make_row(epochs=6)),
    "bn": (0.8, make_row(epochs=6, published={"accuracy": 0.83, "loss": 0.5, "source": HOSTILE})),
    "dropout": (0.85, make_row(epochs=6)),
    "both-with-a-long-name-that-a-phone-cannot-show": (0.9, make_row(epochs=6)),
    "leaking": (0.95, make_row(epochs=6, select_on="test")),
    "diverging": (0.6, make_row(epochs=6, optimizer={"name": "sgd", "lr": 0.3})),
    "elsewhere": (0.5, make_row(epochs=6, dataset="other")),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the system's, or else Playwright's own."""
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(
                executable_path=shutil.which("chromium") or shutil.which("google-chrome")
            )
        except Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reports of a study of everything that can happen, and of one in which no run finished."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "STORE", root / "store")
        patch.setattr(paths, "DATA", root / "data")
        return _write_reports(root)


def _write_reports(root: Path) -> Path:
    for dataset in ("digits", "other"):
        prepare(root / "data" / dataset, images=200, classes=[f"class {place}" for place in range(CLASSES)])
    for name, (accuracy, row) in ROWS.items():
        simulate(root / "runs" / "s" / name, row, accuracy)
    write_outputs(root / "runs" / "s" / "dead", make_row(), (None, None, None))
    rows = {name: row for name, (_, row) in ROWS.items()} | {"dead": make_row()}
    write_diagnosis(root / "diagnosis", rows, [("diverging", 2), *(("dead", seed) for seed in range(3))])
    study = make_study(rows)
    dead = PlannedStudy(name="dead", study=Study(title="Dead", question=HOSTILE, targets=[]), rows={"dead": make_row()})
    for planned in (study, dead):
        groups = report.load(planned, root / "runs" / "s", root / "diagnosis")
        report.write(planned, groups, root / "reports")
    picture = Picture("s/picture.svg", "Runs", lambda: '<svg xmlns="http://www.w3.org/2000/svg" width="600"/>')
    table = f"By `words` & {HOSTILE}.\n\n| row | picture |\n| --- | --- |\n| a | ![Runs](s/picture.svg) |"
    added = Section("Added", [Words(table, [picture]), picture, Words("[Some study](s.md)")])
    (root / "reports" / "added.html").write_text(page.render("Title", "Lead", [added]))
    return root / "reports"


UNDRAWN = "[...document.querySelectorAll('.canvas')].some((one) => one.checkVisibility() && !one.querySelector('svg'))"


@pytest.fixture
def view(browser: Browser, reports: Path) -> Iterator[Open]:
    """Opens a report, and holds in the end that it asked for no address but its own and complained of nothing."""
    contexts, requests, complaints = [], [], []

    def opened(name: str = "s.html", size: dict[str, int] = DESK, scheme: str = "light", unfolded: bool = True) -> Page:
        context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)  # pyright: ignore
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto((reports / name).as_uri())
        if unfolded:
            tab.locator("details.fold").evaluate_all("all => all.forEach((fold) => { fold.open = true; })")
        while tab.evaluate(UNDRAWN):
            tab.wait_for_timeout(20)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith(reports.as_uri())} == set()


def marks(tab: Page, title: str, selector: str) -> int:
    """How many marks a chart has."""
    return figure(tab, title).locator(f".canvas svg {selector}").count()


def figure(tab: Page, title: str) -> Any:
    """The chart with that title."""
    return tab.locator("figure", has=tab.locator(f"figcaption strong:text-is('{title}.')"))


def sorted_table(tab: Page, heading: str) -> Any:
    """The table below that heading."""
    return tab.locator("section", has=tab.locator(f"h3:text-is('{heading}')")).locator("table.sortable")


def column(table: Any, heading: str) -> list[str]:
    """What a table shows in a column."""
    headings = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    place = next(place for place, text in enumerate(headings) if text.startswith(heading))
    return table.locator(f"tbody tr > :nth-child({place + 1})").all_inner_texts()


def test_every_chart_has_its_marks(view: Open) -> None:
    """Broken: a chart stays empty, or lacks a run, a row or a class."""
    tab = view()
    assert marks(tab, "Test accuracy on digits", "[data-mark=dot] circle") == 7 * 3  # a run that failed is a guess
    assert marks(tab, "Test accuracy on digits", "[data-mark=dot] path") == 1  # the published value
    assert marks(tab, "P(row > column) on digits", "[data-mark=cell] rect") == 6 * 6
    assert marks(tab, "By epoch", "[data-mark=line] path") == 7
    assert marks(tab, "By epoch", "[data-mark=area] path") == 0  # of more than six rows, bands would hide each other
    assert marks(tab, "Variance shift by layer", "[data-mark=line] path") == 7
    assert marks(tab, "Variance shift by layer", "[data-mark=dot] circle") == 7 * 2
    assert marks(tab, "Reliability diagram", "[data-mark=line] path") == 1 + 7
    assert marks(tab, "Confusion matrix on other", "[data-mark=cell] rect") == CLASSES**2


def test_curves_are_switched_by_row_kind_and_measure(view: Open) -> None:
    """Broken: a switch does nothing, or switches something else."""
    tab = view()
    chart = figure(tab, "By epoch")
    chart.get_by_label("plain", exact=True).uncheck()
    chart.get_by_label("bands").check()
    assert marks(tab, "By epoch", "[data-mark=line] path") == 6
    assert marks(tab, "By epoch", "[data-mark=area] path") == 6
    chart.get_by_label("training").check()
    assert marks(tab, "By epoch", "[data-mark=line] path") == 12
    chart.get_by_role("combobox", name="Measure").select_option("Learning rate")
    assert "Learning rate" in chart.locator("svg").text_content()
    assert marks(tab, "By epoch", "[data-mark=line] path") == 6
    chart.get_by_role("button", name="No rows").click()
    assert marks(tab, "By epoch", "[data-mark=line] path") == 0
    chart.get_by_text("This chart as a table").click()
    chart.get_by_label("dropout", exact=True).check()
    assert chart.locator("tbody tr").first.inner_text().split("\t")[:3] == ["dropout", "learning rate", "1"]


def test_the_band_of_the_line_that_is_pointed_at_stands_out(view: Open) -> None:
    """Broken: the tip would name one row while the band of another is highlighted, or none."""
    tab = view()
    chart = figure(tab, "By epoch")
    chart.get_by_label("bands").check()
    line = chart.locator("[data-mark=line] path").nth(2)
    x, y = line.get_attribute("d").split("L")[2].split(",")
    chart.locator(".canvas svg").hover(position={"x": float(x), "y": float(y)})
    pointed = chart.locator("[data-mark=area] path.pointed")
    assert [one.get_attribute("fill") for one in pointed.all()] == [line.get_attribute("stroke")]
    assert "dropout (validation)" in chart.locator(".canvas svg").text_content()


def test_confusions_are_those_of_the_chosen_row(view: Open, reports: Path) -> None:
    """Broken: the matrix shows another row's confusions."""
    tab = view()
    chart = figure(tab, "Confusion matrix on digits")
    chart.get_by_role("combobox", name="Row").select_option("plain")
    chart.get_by_text("This chart as a table").click()
    shown = [[int(cell) for cell in line.split("\t")[1:]] for line in chart.locator("tbody tr").all_inner_texts()]
    (group, _) = report.load(make_study({name: row for name, (_, row) in ROWS.items()}), reports.parent / "runs" / "s")
    (plain,) = (result for result in group if result.name == "plain")
    assert plain.predictions is not None
    assert shown == plain.predictions.confusion.tolist()
    assert np.trace(shown) / np.sum(shown) == pytest.approx(plain.estimate("test_accuracy").mean, abs=0.003)  # pyright: ignore


def test_table_sorts_by_mouse_and_keyboard(view: Open) -> None:
    """Broken: the table cannot be sorted, or numbers are sorted as words, or what has no value comes first."""
    table = sorted_table(view(), "Test accuracy on digits")
    heading = table.get_by_role("button", name="difference to")
    for use, order in ((heading.click, "descending"), (lambda: heading.press("Enter"), "ascending")):
        use()
        *known, last = column(table, "difference to")
        values = [float(text.split()[0].replace("−", "-")) for text in known]
        assert values == sorted(values, reverse=order == "descending")
        assert last == "–"
        assert table.locator("[aria-sort]").get_attribute("aria-sort") == order
    table.get_by_role("button", name="row", exact=True).press("Space")
    names = column(table, "row")
    assert all(first.lower() <= second.lower() for first, second in pairwise(names))


def test_tables_show_all_that_was_measured(view: Open) -> None:
    """Broken: a metric, a published value or a failure is missing from the page."""
    tab = view()
    table = sorted_table(tab, "Test accuracy on digits")
    assert "1 of 3 failed; the first, seed 2: training loss not finite in epoch 2" in column(table, "runs")
    assert len(column(table, "#")) == 7
    headings = " ".join(tab.locator("table.sortable thead th").all_inner_texts())
    for metric in (
        "AUC, macro",
        "ECE, %",
        "validation AUC",
        "training loss",
        "gap, nats",
        "epochs trained",
        "published",
    ):
        assert metric in headings
    assert tab.get_by_role("cell", name="83.00").count() == 1


@pytest.mark.parametrize("name", ["s.html", "dead.html", "index.html"])
def test_nothing_is_wider_than_a_phone(view: Open, name: str) -> None:
    """Broken: a phone scrolls sideways."""
    tab = view(name, PHONE)
    tab.locator("details").evaluate_all("all => all.forEach((part) => { part.open = true; })")
    widths = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["s.html", "dead.html", "index.html"])
def test_axe_finds_no_fault(view: Open, name: str, scheme: str) -> None:
    """Broken: text is too faint, a control has no name, a heading or landmark is missing."""
    tab = view(name, DESK, scheme)
    tab.locator("figure details, .fold details").evaluate_all("all => all.forEach((part) => { part.open = true; })")
    found = Axe().run(tab, options={"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "best-practice"]})
    faults = [(fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in found.response["violations"]]
    assert faults == []


CONTRASTS = """() => {
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const light = (colour) => {
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...pixel.getImageData(0, 0, 1, 1).data].map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const surface = getComputedStyle(document.body).backgroundColor;
  const all = (property, ...selectors) => [...document.querySelectorAll(selectors.join())]
    .map((mark) => contrast(getComputedStyle(mark)[property], surface));
  const cells = [...document.querySelectorAll("[data-mark=cell] rect")]
    .map((cell) => [cell.getBoundingClientRect(), getComputedStyle(cell).fill]);
  const numbers = [...document.querySelectorAll("[data-chart=matrix] [data-mark=text] text")].map((text) => {
    const {x, y, width, height} = text.getBoundingClientRect();
    const [, fill] = cells.find(([box]) => box.left < x && x + width < box.right && box.top < y && y < box.bottom);
    return contrast(getComputedStyle(text).fill, fill);
  });
  const words = all("fill", "[data-chart=dots] text", "[data-mark$='tick label'] text", "[data-mark$=label] text");
  const lines = all("stroke", "[data-mark=line] path", "[data-mark=rule][stroke-width='3'] line");
  const dots = all("fill", "[data-mark=dot] circle");
  return {
    surface: light(surface), counted: [numbers, words, lines, dots].map((list) => list.length),
    numbers: Math.min(...numbers), words: Math.min(...words), lines: Math.min(...lines), dots: Math.min(...dots),
  };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_legible(view: Open, scheme: str) -> None:
    """Broken: text in a chart is fainter than 4.5 : 1, or a mark than 3 : 1 (WCAG 2.1, 1.4.3 and 1.4.11)."""
    tab = view("s.html", DESK, scheme)
    found = tab.evaluate(CONTRASTS)
    assert (found["surface"] > 0.5) == (scheme == "light")
    assert found["counted"][0] == 6 * 5 + 2 * CLASSES**2
    assert all(count > 10 for count in found["counted"])
    assert min(found["numbers"], found["words"]) >= 4.5
    assert min(found["lines"], found["dots"]) >= 3


def test_the_switch_of_colours_wins_and_is_remembered(view: Open) -> None:
    """Broken: a reader cannot leave the system's colours, or must choose anew on every page."""
    tab = view("s.html", DESK, "light")
    tab.get_by_role("combobox", name="Colours").select_option("dark")
    assert tab.evaluate(CONTRASTS)["surface"] < 0.1
    tab.get_by_role("link", name="All studies").click()
    assert tab.get_by_role("combobox", name="Colours").input_value() == "dark"


def test_print_is_on_white_and_whole(view: Open) -> None:
    """Broken: print is dark, cuts tables off, or shows controls that paper cannot use."""
    tab = view("s.html", DESK, "dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate(CONTRASTS)["surface"] == 1
    assert not tab.get_by_role("combobox", name="Colours").is_visible()
    assert not tab.get_by_role("button", name="All rows").first.is_visible()
    assert tab.locator(".scroll").first.evaluate("box => getComputedStyle(box).overflow") == "visible"
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.get_by_text("dvc repro train@bn").first.is_visible()


def test_the_browser_refuses_other_addresses(browser: Browser, reports: Path) -> None:
    """Broken: a page could ask for an address, by an image in a text or by a script."""
    with browser.new_context(offline=True) as context:
        tab = context.new_page()
        tab.goto((reports / "s.html").as_uri())
        refused = tab.evaluate("""() => new Promise((done) => {
            addEventListener("securitypolicyviolation", (event) => done(event.blockedURI));
            new Image().src = "http://127.0.0.1:9/pixel.png";
        })""")
    assert refused == "http://127.0.0.1:9/pixel.png"


def test_index_leads_to_every_study(view: Open) -> None:
    """Broken: a study that was run is missing from the index, or its link leads nowhere."""
    tab = view("index.html")
    assert tab.locator("h3").all_inner_texts() == ["Dead", "Some study"]
    assert "No run finished" in tab.locator("section").first.inner_text()
    tab.get_by_role("link", name="Some study").click()
    assert tab.locator("h1").inner_text() == "Some study"
    assert tab.locator("main .answer").count() == 1


def test_text_of_any_origin_stays_text(view: Open) -> None:
    """Broken: a name or a source with HTML in it runs as a script, or tears the page apart."""
    assert HOSTILE in view("dead.html").locator("main").inner_text()
    assert HOSTILE in view("s.html").locator("main").inner_text()


def test_a_section_brings_its_tables_pictures_and_links(view: Open) -> None:
    """Broken: a table's cells are not named, a picture is not within the page, or a link leads to Markdown."""
    tab = view("added.html")
    assert tab.locator("section h2").all_inner_texts() == ["Added"]
    assert "By words & " in tab.locator("section p").first.inner_text()
    assert tab.locator("section th").evaluate_all("all => all.map((cell) => cell.scope)") == ["col", "col", "row"]
    widths = tab.locator("img").evaluate_all(
        "all => Promise.all(all.map(async (image) => { await image.decode(); return image.naturalWidth; }))"
    )
    assert widths == [600, 600]
    tab.get_by_role("link", name="Some study").click()
    assert tab.locator("h1").inner_text() == "Some study"


def test_the_page_has_two_layers(view: Open) -> None:
    """Broken: what the reader looks for first is folded away, or what few look for is not; or a part is there twice."""
    tab = view(unfolded=False)
    assert tab.locator(".first h2").all_inner_texts() == ["Ranking", "Learning curves"]
    folds = tab.locator(".fold > summary h2").all_inner_texts()
    assert folds[0].startswith("How to read") and folds[-1] == "How to reproduce"
    assert len(set(folds)) == len(folds) > 5
    assert not tab.locator(".fold table").first.is_visible()
    tab.get_by_text("How to reproduce").click()
    assert tab.get_by_text("dvc repro report@s").first.is_visible()
