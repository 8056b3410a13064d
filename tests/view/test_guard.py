import pytest
from tests.view.serving import make


@pytest.fixture
def served(serve, tmp_path):
    make(tmp_path / "RUN")
    return serve(tmp_path)


def test_the_link_opens_once_and_leaves_a_cookie_that_goes_on_to_count(served):
    link = f"/?token={served.token}"
    first = served.get(link, Cookie="")
    assert (first.status, first.headers["location"]) == (303, "/")  # nothing of the token stays in the address
    cookie, *attributes = first.headers["set-cookie"].split("; ")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=strict"]
    assert served.get("/", Cookie=cookie).status == 200
    assert served.get("/", Cookie=cookie).status == 200  # reloaded

    second = served.get(link, Cookie="")
    assert second.status == 403
    assert "opened before" in second.text
    assert "start it again, and open the link that it prints" in second.text
    assert "set-cookie" not in second.headers
    assert served.get(link, Cookie=cookie).status == 303  # the browser that has it may find it in its history


def test_a_look_ahead_does_not_spend_the_link(served):
    assert served.get(f"/?token={served.token}", method="HEAD", Cookie="").status == 403
    assert served.get(f"/?token={served.token}", Cookie="").status == 303


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?token=",
        "/?token=wrong",
        "/?token=%C3%A9",
        "/events",
        "/run/0123456789abcdef",
        "/compare",
        "/list.js",
        "/x",
    ],
)
def test_who_was_not_let_in_gets_nothing(served, path):
    answer = served.get(path, Cookie="")
    assert answer.status == 403
    assert "Ctrl-C, start it again" in answer.text
    assert len(answer.body) < 300


def test_the_token_counts_at_the_root_alone_and_alone(served):
    for path in (f"/list.js?token={served.token}", f"//evil.example/?token={served.token}", "/?token=a&token=b"):
        assert served.get(path, Cookie="").status == 403
    assert served.get(f"/?token={served.token}&token={served.token}", Cookie="").status == 403
    assert served.get(f"/?token={served.token}", Cookie="").status == 303  # not spent by any of these


def test_a_cookie_counts_for_its_port_and_folder_alone(serve, served, tmp_path):
    make(tmp_path / "other" / "RUN")
    for other in (serve(tmp_path), serve(tmp_path / "other"), serve(tmp_path, key=bytes(32))):
        assert other.get("/", Cookie=served.cookie).status == 403
        assert other.get("/").status == 200


def test_cookies_of_other_programs_do_not_hide_ours(served):
    for others in ('a=[1,"2"]; ', "=; ;; ", "longreach=1; ", 'x="'):
        assert served.get("/", Cookie=f"{others}; {served.cookie}").status == 200
    name, value = served.cookie.split("=")
    for wrong in (f"{name}=", f"{name}={value[:-1]}", f"{name}={value}x", f"{name}=é"):
        assert served.get("/", Cookie=wrong.encode().decode("latin-1")).status == 403


def test_another_host_is_refused(served):
    port = served.port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"[::1]:{port}",
        f"0.0.0.0:{port}",
    ):
        answer = served.get("/", Host=host)
        assert answer.status == 403
        assert "another host" in answer.text
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"127.0.0.1:{port}"):
        assert served.get("/", Host=host).status == 200


def test_another_host_does_not_spend_the_link(served):
    assert served.get(f"/?token={served.token}", Host="evil.example", Cookie="").status == 403
    assert served.get(f"/?token={served.token}", Cookie="").status == 303


def test_another_origin_is_refused(served):
    port = served.port
    for origin in (
        "null",
        "http://evil.example",
        f"https://127.0.0.1:{port}",
        f"http://localhost:{port}",
        f"http://127.0.0.1:{port + 1}",
    ):
        assert served.get("/events", Origin=origin).status == 403
    assert served.get("/", Origin=f"http://127.0.0.1:{port}").status == 200
    for site in ("cross-site", "same-site"):
        answer = served.get("/", Sec_Fetch_Site=site)
        assert answer.status == 403
        assert "copy the link into the address bar" in answer.text
    for site in ("none", "same-origin"):
        assert served.get("/", Sec_Fetch_Site=site).status == 200


def test_nothing_can_be_changed(served):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        answer = served.get("/", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert "never changed" in answer.text
    head = served.get("/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    events = served.get("/events", method="HEAD")
    assert (events.status, events.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_every_answer_keeps_out_of_frames_caches_and_other_pages(served):
    run = served.address("RUN")
    answers = {
        200: ["/", run, "/list.js", "/list.css", "/listen.js", f"/compare?run={run[5:]}"],
        403: ["/?token=x"],
        404: ["/nothing", "/run/nothing", "/compare"],
    }
    for status, paths in answers.items():
        for path in paths:
            answer = served.get(path, Cookie="" if status == 403 else served.cookie)
            assert answer.status == status
            headers = answer.headers
            policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
            assert (policy["default-src"], policy["frame-ancestors"], policy["base-uri"]) == ("'none'",) * 3
            assert policy.get("connect-src", "'none'") in ("'self'", "'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers
