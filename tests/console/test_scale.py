"""1,000 environments and 10,000 requests, and an API that misbehaves: against a stand-in."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.console.browsing import DESK, PHONE, Theme, Visit, visiting
from tests.console.stand_in import KEY, StandIn, running

ROWS = "tbody tr:not(.spacer)"


@pytest.fixture
def large() -> Iterator[tuple[StandIn, str]]:
    stand_in = StandIn(environments=1000, requests=10_000)
    with running(stand_in) as url:
        yield stand_in, url


@pytest.fixture
def small() -> Iterator[tuple[StandIn, str]]:
    stand_in = StandIn()
    with running(stand_in) as url:
        yield stand_in, url


def _painted_ms(visit: Visit, action: str) -> float:
    """What the page's own thread is busy for, from an action to the next painted frame."""
    script = f"""async () => {{
        const began = performance.now();
        {action};
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        return performance.now() - began;
    }}"""
    return float(visit.page.evaluate(script))


def test_a_thousand_environments_are_a_few_rows_in_the_document(
    browser: Browser, large: tuple[StandIn, str]
) -> None:
    with visiting(browser, large[1], KEY) as visit:
        visit.go("environments")
        table = visit.page.get_by_role("table", name="Environments")
        expect(table).to_have_attribute("aria-rowcount", "1001")
        assert visit.page.locator(ROWS).count() < 60
        visit.shoot("console-environments-1000")
        visit.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(visit.page.locator("[aria-rowindex='1001']")).to_be_visible()
        assert visit.page.locator(ROWS).count() < 60


def test_the_filter_finds_one_of_a_thousand_at_once(
    browser: Browser, large: tuple[StandIn, str]
) -> None:
    with visiting(browser, large[1], KEY) as visit:
        visit.go("environments")
        expect(visit.page.locator(ROWS).first).to_be_visible()
        visit.page.keyboard.press("/")
        visit.page.keyboard.type("sdxl-042 stag")
        expect(visit.page.locator(ROWS)).to_have_count(1)
        expect(visit.page.locator(ROWS)).to_contain_text("sdxl-042/staging")
        assert "q=sdxl-042" in visit.page.url
        visit.page.get_by_role("searchbox").fill("no such model")
        expect(visit.page.get_by_text("No environment fits the filter")).to_be_visible()


def test_a_status_filters_and_is_part_of_the_address(
    browser: Browser, large: tuple[StandIn, str]
) -> None:
    stand_in, url = large
    unhealthy = sum(row["status"] == "UNHEALTHY" for row in stand_in.rows)
    with visiting(browser, url, KEY) as visit:
        visit.go("environments?status=UNHEALTHY")
        chip = visit.page.get_by_role("button", name="Unhealthy")
        expect(chip).to_have_attribute("aria-pressed", "true")
        table = visit.page.get_by_role("table", name="Environments")
        expect(table).to_have_attribute("aria-rowcount", str(unhealthy + 1))
        expect(visit.page.locator(ROWS).first).to_contain_text("weights.bin is truncated")
        chip.click()
        expect(table).to_have_attribute("aria-rowcount", "1001")


def test_columns_sort_the_other_way_at_the_second_click(
    browser: Browser, large: tuple[StandIn, str]
) -> None:
    stand_in, url = large
    with visiting(browser, url, KEY) as visit:
        visit.go("environments")
        head = visit.page.get_by_role("columnheader", name="Waiting")
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", "descending")
        most = max(row["waiting"] for row in stand_in.rows)
        expect(visit.page.locator(ROWS).first.locator(".c-waiting span").first).to_have_text(
            str(most)
        )
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        expect(visit.page.locator(ROWS).first.locator(".c-waiting span").first).to_have_text("0")


def test_updates_and_scrolling_keep_the_page_responsive(
    browser: Browser, large: tuple[StandIn, str]
) -> None:
    with visiting(browser, large[1], KEY) as visit:
        visit.go("environments")
        expect(visit.page.locator(ROWS).first).to_be_visible()
        steps = [_painted_ms(visit, f"scrollTo(0, {at})") for at in range(0, 40_000, 4000)]
        assert sorted(steps)[len(steps) // 2] < 250, steps  # a shared machine; 20 ms alone


def test_the_keyboard_walks_through_all_rows(browser: Browser, large: tuple[StandIn, str]) -> None:
    with visiting(browser, large[1], KEY) as visit:
        visit.go("environments?sort=environment")
        first = visit.page.locator("[aria-rowindex='2'] a")
        first.focus()
        for _ in range(40):
            visit.page.keyboard.press("ArrowDown")
        expect(visit.page.locator("[aria-rowindex='42'] a")).to_be_focused()
        visit.page.keyboard.press("End")
        expect(visit.page.locator("[aria-rowindex='1001'] a")).to_be_focused()
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_role("heading", level=1)).to_contain_text("whisper-large")


def test_ten_thousand_requests(browser: Browser, large: tuple[StandIn, str]) -> None:
    with visiting(browser, large[1], KEY) as visit:
        visit.go("requests")
        expect(visit.page.get_by_text("10,000 requests")).to_be_visible()
        assert visit.page.locator(ROWS).count() < 70
        visit.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(visit.page.locator("[aria-rowindex='10001']")).to_be_visible()
        visit.page.evaluate("scrollTo(0, 0)")
        visit.page.get_by_role("button", name="Errors").click()
        failed = sum(each["status"] >= 499 for each in large[0].recent)
        expect(visit.page.get_by_text(f"{failed} requests")).to_be_visible()
        assert visit.page.url.endswith("#/requests?errors")


def test_rows_live_on_without_a_reload(browser: Browser, small: tuple[StandIn, str]) -> None:
    stand_in, url = small
    with visiting(browser, url, KEY) as visit:
        visit.go("environments")
        expect(visit.page.get_by_text("Live")).to_be_visible()
        stand_in.rows[0]["waiting"] = 4711
        expect(visit.page.locator(ROWS).filter(has_text="4,711")).to_have_count(1)


def test_a_stream_that_breaks_is_taken_up_again(
    browser: Browser, small: tuple[StandIn, str]
) -> None:
    stand_in, url = small
    with visiting(browser, url, KEY, allowed=lambda said: "429" in said) as visit:
        visit.go("environments")
        expect(visit.page.get_by_text("Live")).to_be_visible()
        stand_in.refuses_streams = True
        stand_in.cut.set()
        expect(visit.page.get_by_text("Every 5 s")).to_be_visible()
        expect(visit.page.locator(ROWS)).to_have_count(3)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(
    "view",
    [
        ("environments", "Active"),
        ("environments/llama-3-8b/production", "Time to answer"),
        ("requests", "200 requests"),
        ("requests/abc", "In line"),
        ("requests/unknown", "This request is not known"),
        ("async", "40 requests"),
        ("dead-letters", "3 dead letters"),
        ("nonsense", "There is no such view"),
    ],
    ids=lambda view: view[0],
)
def test_every_view_is_accessible_and_fits(
    browser: Browser,
    small: tuple[StandIn, str],
    view: tuple[str, str],
    size: tuple[int, int],
    theme: Theme,
) -> None:
    address, shown = view

    def allowed(said: str) -> bool:
        return address == "requests/unknown" and "404" in said

    with visiting(browser, small[1], KEY, theme=theme, size=size, allowed=allowed) as visit:
        visit.go(address)
        expect(visit.page.locator("main").get_by_text(shown).first).to_be_visible()
        if address.startswith("environments/"):
            expect(visit.page.get_by_role("table", name="Queue by class")).to_be_visible()
        visit.accessible()
        visit.fits()


def test_a_chart_is_read_with_the_keyboard_and_as_a_table(
    browser: Browser, small: tuple[StandIn, str]
) -> None:
    with visiting(browser, small[1], KEY) as visit:
        visit.go("environments/llama-3-8b/production")
        chart = visit.page.get_by_role("slider", name="Requests per second")
        expect(chart).to_have_attribute("aria-valuemax", "179")
        visit.shoot("console-environment-made-up")
        chart.focus()
        visit.page.keyboard.press("ArrowLeft")
        visit.page.keyboard.press("ArrowLeft")
        expect(chart).to_have_attribute("aria-valuetext", _reading("requests"))
        expect(visit.page.locator(".readout:visible")).to_have_count(4)
        figure = visit.page.locator("figure").filter(has=chart)
        figure.get_by_text("As a table").click()
        expect(figure.get_by_role("row")).to_have_count(181)


def _reading(name: str) -> re.Pattern[str]:
    return re.compile(rf"\d\d:\d\d:\d\d: {name} [\d.,]+ /s, errors")


def test_the_tab_forgets_the_key_at_the_log_out(
    browser: Browser, small: tuple[StandIn, str]
) -> None:
    with visiting(browser, small[1], allowed=lambda said: "401" in said) as visit:
        visit.go("requests")
        visit.page.get_by_label("API key").fill(KEY)
        visit.page.get_by_role("button", name="Log in").click()
        expect(visit.page.get_by_text("200 requests")).to_be_visible()
        visit.page.get_by_role("button", name="Log out").click()
        expect(visit.page.get_by_text("You are logged out.")).to_be_visible()
        assert visit.page.evaluate("sessionStorage.length") == 0


def test_the_colours_follow_the_choice(browser: Browser, small: tuple[StandIn, str]) -> None:
    with visiting(browser, small[1], KEY, theme="dark") as visit:
        visit.go("environments")
        root = visit.page.locator("html")
        expect(root).to_have_attribute("data-theme", "dark")
        visit.page.get_by_role("button", name="Colours: as the system").click()
        expect(root).to_have_attribute("data-theme", "light")
        visit.page.reload()
        expect(root).to_have_attribute("data-theme", "light")
