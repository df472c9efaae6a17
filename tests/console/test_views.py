"""Every view of the page, against a real cluster."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.console.browsing import PHONE, Theme, Visit, visiting
from tests.console.conftest import Cluster, Receiver, eventually

ROWS = "tbody tr:not(.spacer)"


@pytest.fixture
def visit(browser: Browser, cluster: Cluster) -> Iterator[Visit]:
    with visiting(browser, cluster.url, cluster.key) as visit:
        yield visit


def _row(visit: Visit, text: str) -> Locator:
    return visit.page.locator(ROWS).filter(has_text=text)


def _refused(said: str) -> bool:
    """The browser itself tells of each answer with an error."""
    return "401" in said or "403" in said


def test_a_wrong_key_is_refused_and_the_right_one_is_let_in(
    browser: Browser, cluster: Cluster
) -> None:
    with visiting(browser, cluster.url, allowed=_refused) as visit:
        visit.go("requests?errors")
        field = visit.page.get_by_label("API key")
        expect(field).to_be_focused()
        visit.accessible()
        visit.shoot("console-login")
        field.fill("ops.not-the-secret")
        visit.page.keyboard.press("Enter")
        alert = visit.page.get_by_role("alert")
        expect(alert.get_by_text("This key is not accepted.")).to_be_visible()
        assert visit.page.evaluate("sessionStorage.length") == 0
        visit.accessible()
        field.fill(cluster.caller_key)
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_text("lacks the scope manage")).to_be_visible()
        field.fill(cluster.key)
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_role("button", name="Errors")).to_have_attribute(
            "aria-pressed", "true"
        )


def test_a_key_that_is_taken_back_leads_to_the_login(browser: Browser, cluster: Cluster) -> None:
    with visiting(browser, cluster.url, "ops.of-yesterday", allowed=_refused) as visit:
        visit.go("environments")
        expect(visit.page.get_by_text("This key is not accepted.")).to_be_visible()


def test_environments_at_a_glance(visit: Visit, cluster: Cluster) -> None:
    cluster.predict("echo/production", {"hello": "page"})
    cluster.predict("broken/production", {})
    visit.go("environments")
    expect(visit.page.get_by_text("Live", exact=True)).to_be_visible()
    expect(_row(visit, "echo/production")).to_contain_text("Active")
    expect(_row(visit, "echo/staging")).to_be_visible()
    broken = _row(visit, "broken/production")
    expect(broken).to_contain_text("Unhealthy")
    expect(broken).to_contain_text("weights.bin is truncated")
    visit.accessible()
    visit.shoot("console-environments")


def test_rows_follow_the_cluster_without_a_reload(visit: Visit, cluster: Cluster) -> None:
    visit.go("environments")
    running = _row(visit, "echo/production").locator(".c-rate")
    expect(running).to_be_visible()
    eventually(lambda: _more_requests(cluster, running))


def _more_requests(cluster: Cluster, cell: Locator) -> bool:
    cluster.predict("echo/production", {})
    return not cell.inner_text().strip().startswith("0 /s")


def test_an_environment_wakes_up_before_ones_eyes(visit: Visit, cluster: Cluster) -> None:
    visit.go("environments")
    row = _row(visit, "echo/staging")
    expect(row).to_contain_text("Asleep")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(cluster.predict, "echo/staging", {})
        expect(row.get_by_text("Waking up").or_(row.get_by_text("Loading")).first).to_be_visible()
        status, _ = answer.result()
        expect(row).to_contain_text("Active")
    assert status == 200


def test_an_environments_page(visit: Visit, cluster: Cluster) -> None:
    for number in range(20):
        cluster.predict("echo/production", {"number": number})
    visit.go("environments")
    _row(visit, "echo/production").get_by_role("link").click()
    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("echo/production")
    replicas = visit.page.get_by_role("table", name="Replicas")
    expect(replicas).to_contain_text("Ready")
    expect(replicas.get_by_role("img").first).to_have_attribute("aria-label", _contains("loading"))
    expect(visit.page.get_by_role("table", name="Starts")).to_contain_text("Ready")
    expect(visit.page.get_by_role("table", name="Queue by class")).to_contain_text("Synchronous")
    expect(visit.page.get_by_role("table", name="Deployments")).to_contain_text("promoted")
    expect(visit.page.locator(".settings")).to_contain_text("max replica")
    charts = visit.page.get_by_role("slider")
    expect(charts).to_have_count(4)
    expect(charts.first).to_have_attribute("aria-valuetext", _contains("requests"))
    expect(visit.page.locator("path.line.tone-1").first).to_have_attribute("d", _contains("M"))
    charts.first.hover()
    expect(visit.page.locator(".readout:visible").first).to_contain_text("requests")
    visit.accessible()
    visit.shoot("console-environment")


def _contains(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text))


def test_its_log_is_read_on_demand(visit: Visit, cluster: Cluster) -> None:
    visit.go("environments/broken/production")
    cluster.predict("broken/production", {})
    visit.page.get_by_text("Log", exact=True).click()
    log = visit.page.get_by_role("log")
    expect(log).to_contain_text("weights.bin is truncated")


def test_requests_are_filtered_and_one_is_opened(visit: Visit, cluster: Cluster) -> None:
    _, answered = cluster.predict("echo/production", {"look": "at me"})
    cluster.predict("broken/production", {})
    visit.go("requests")
    table = visit.page.get_by_role("table", name="Requests")
    link = table.locator(f"a[title='{answered}']")
    expect(link).to_be_visible()
    visit.shoot("console-requests")
    visit.page.get_by_role("button", name="Errors").click()
    expect(link).to_have_count(0)
    expect(table.locator(ROWS).first).to_contain_text("broken/production")
    visit.page.get_by_label("Model").fill("echo")
    visit.page.keyboard.press("Tab")
    visit.page.get_by_role("button", name="Errors").click()
    expect(link).to_be_visible()
    expect(_row(visit, "broken/production")).to_have_count(0)
    assert visit.page.url.endswith("#/requests?model=echo")
    visit.accessible()
    link.click()
    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("nswered 200")
    assert visit.page.url.endswith(f"#/requests/{answered}")
    visit.page.go_back()
    expect(visit.page.get_by_label("Model")).to_have_value("echo")


def test_the_waterfall_of_a_cold_start(visit: Visit, cluster: Cluster) -> None:
    cluster.predict("echo/cold", {})
    visit.go("requests?cold&model=echo&environment=cold")
    row = _row(visit, "cold start").first
    row.get_by_role("link").click()
    steps = visit.page.locator(".wf-row")
    for step in ("Request", "In line", "Loading", "Attempt"):
        expect(steps.filter(has_text=step).first).to_be_visible()
    wait = steps.filter(has_text="In line").first
    wait.focus()
    visit.page.keyboard.press("Enter")
    expect(wait).to_have_attribute("aria-expanded", "true")
    expect(visit.page.locator(".wf-detail:visible")).to_contain_text("began")
    visit.accessible()
    visit.shoot("console-request")


def test_unknown_and_malformed_ids(browser: Browser, cluster: Cluster) -> None:
    def allowed(said: str) -> bool:
        return "404" in said or "400" in said

    with visiting(browser, cluster.url, cluster.key, allowed=allowed) as visit:
        visit.go("requests")
        search = visit.page.get_by_role("searchbox")
        search.fill("deadbeefdeadbeef")
        search.press("Enter")
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("This request is not known")
        visit.go("requests/a%20b%22c")
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("That is no request id")
        visit.accessible()


def test_asynchronous_requests(visit: Visit, cluster: Cluster, receiver: Receiver) -> None:
    receiver.status = 200
    request_id = cluster.submit("echo/production", receiver.url)
    eventually(lambda: len(receiver.got) > 0)
    visit.go("async?status=SUCCEEDED")
    row = _row(visit, request_id)
    expect(row).to_contain_text("Succeeded")
    visit.accessible()
    row.get_by_role("link").click()
    expect(visit.page.locator(".wf-row").filter(has_text="Webhook").first).to_be_visible()
    expect(visit.page.locator(".wf-row").filter(has_text="Run").first).to_be_visible()
    visit.accessible()
    visit.go("async?status=FAILED")
    expect(_row(visit, request_id)).to_have_count(0)


def test_dead_letters_are_replayed(visit: Visit, cluster: Cluster, receiver: Receiver) -> None:
    request_id = cluster.submit("echo/production", receiver.url)
    eventually(lambda: request_id in cluster.dead_letters())
    visit.go("dead-letters")
    row = _row(visit, request_id)
    expect(row).to_contain_text("503")
    row.get_by_role("button", name=f"Tries of {request_id}").click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog.get_by_role("row")).to_have_count(3)
    visit.accessible()
    visit.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    visit.shoot("console-dead-letters")
    receiver.status = 200
    row.get_by_role("button", name=f"Replay {request_id}").click()
    visit.accessible()
    dialog.get_by_role("button", name="Cancel").click()
    before = len(receiver.got)
    row.get_by_role("button", name=f"Replay {request_id}").click()
    dialog.get_by_role("button", name="Replay").click()
    expect(row).to_have_count(0)
    expect(visit.page.locator("main").get_by_text("is tried again")).to_be_visible()
    eventually(lambda: len(receiver.got) == before + 1)


def test_all_dead_letters_of_a_host_are_replayed(
    visit: Visit, cluster: Cluster, receiver: Receiver
) -> None:
    lost = [cluster.submit("echo/production", receiver.url) for _ in range(2)]
    eventually(lambda: set(lost) <= set(cluster.dead_letters()))
    receiver.status = 200
    before = len(receiver.got)
    visit.go("dead-letters?host=127.0.0.1")
    expect(_row(visit, lost[0])).to_be_visible()
    visit.page.get_by_role("button", name="Replay all").click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog).to_contain_text("host 127.0.0.1")
    dialog.get_by_role("button", name="Replay all").click()
    expect(visit.page.get_by_text("No webhook was given up")).to_be_visible()
    eventually(lambda: len(receiver.got) == before + 2)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["environments", "environments/echo/production", "requests"])
def test_on_a_phone(browser: Browser, cluster: Cluster, view: str, theme: Theme) -> None:
    with visiting(browser, cluster.url, cluster.key, theme=theme, size=PHONE) as visit:
        visit.go(view)
        waits: dict[str, Callable[[], Locator]] = {
            "environments": lambda: _row(visit, "echo/production"),
            "requests": lambda: visit.page.locator(ROWS).first,
        }
        ready = waits.get(view, lambda: visit.page.get_by_role("table", name="Starts"))
        expect(ready()).to_be_visible()
        visit.fits()
        visit.accessible()
        visit.shoot(f"console-phone-{view.split('/', maxsplit=1)[0]}-{theme}")


def test_dark(browser: Browser, cluster: Cluster) -> None:
    with visiting(browser, cluster.url, cluster.key, theme="dark") as visit:
        visit.go("environments/echo/production")
        expect(visit.page.get_by_role("table", name="Starts")).to_be_visible()
        visit.accessible()
        visit.shoot("console-environment-dark")
