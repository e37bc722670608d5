"""Feeds of every kind are read by what they hold; broken rows are named, hostile ones stopped, and nothing is invented.

Proves FR-54.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chimera.core.errors import FeedUnreadable
from chimera.tools.feeds import source as source_module
from chimera.tools.feeds.model import Feed
from chimera.tools.feeds.read import read_feed

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
SAMPLE = ROOT / "chimera" / "cli" / "sample" / "trending_sample.jsonl"
HEAD = "when,what\n"


def write(tmp_path: Path, content: str | bytes, name: str = "posts.csv") -> str:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def roles(feed: Feed) -> dict[str, str]:
    return {column.name: column.role for column in feed.columns}


class TestKinds:
    def test_csv_with_a_header(self, tmp_path: Path) -> None:
        content = "rank,day,repo\n1,2026-01-01,a/b\n2,2026-01-02,c/d\n"
        feed = read_feed(write(tmp_path, content, "my feed (1).csv"))
        assert (feed.kind, feed.name, feed.source) == ("csv", "my_feed_1", str(tmp_path / "my feed (1).csv"))
        assert feed.sha256 == hashlib.sha256(content.encode()).hexdigest()
        first = feed.posts[0]
        assert (first.row, first.at) == (1, datetime(2026, 1, 1, tzinfo=UTC))
        assert first.fields == {"rank": "1", "day": "2026-01-01", "repo": "a/b"}
        assert feed.evidence_id(2) == "my_feed_1:2"

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_the_delimiter_is_found(self, tmp_path: Path, delimiter: str) -> None:
        rows = [["time", "note"], ["2026-01-01T10:00", 'one, two; "three"'], ["2026-01-01T11:00", "plain"]]
        content = "\n".join(delimiter.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows)
        feed = read_feed(write(tmp_path, content))
        assert [post.fields["note"] for post in feed.posts] == ['one, two; "three"', "plain"]

    def test_csv_without_a_header_begins_with_row_one(self, tmp_path: Path) -> None:
        feed = read_feed(write(tmp_path, "2026-01-01,alpha\n2026-01-02,beta\n"))
        assert [(post.row, post.fields["column_2"]) for post in feed.posts] == [(1, "alpha"), (2, "beta")]

    def test_json_list_and_nested_list(self, tmp_path: Path) -> None:
        items = [{"t": 1767225600, "user": {"name": "x"}, "tags": ["a", "b"], "ok": True, "none": None}]
        plain = read_feed(write(tmp_path, json.dumps(items), "a.json"))
        nested = read_feed(
            write(tmp_path, json.dumps({"meta": {"n": 1}, "data": {"children": items}}, indent=1), "b.json")
        )
        assert (plain.kind, nested.kind) == ("json", "json")
        assert plain.posts == nested.posts
        assert plain.posts[0].fields == {
            "t": "1767225600", "user.name": "x", "tags": "a, b", "ok": "true", "none": "",
        }  # fmt: skip

    def test_jsonl_even_when_half_of_it_is_broken(self, tmp_path: Path) -> None:
        good = json.dumps({"at": "2026-01-01T00:00:00Z", "text": "hello"})
        feed = read_feed(write(tmp_path, f'{{"at": "2026\n{good}\n\n[1]\n{good}\n', "x.jsonl"))
        assert (feed.kind, [post.row for post in feed.posts]) == ("jsonl", [2, 4])
        assert [broken.row for broken in feed.broken] == [1, 3]
        assert "not valid JSON" in feed.broken[0].why
        assert "list" in feed.broken[1].why

    def test_one_line_of_jsonl(self, tmp_path: Path) -> None:
        feed = read_feed(write(tmp_path, '{"at": "2026-01-01", "text": "only"}'))
        assert (feed.kind, len(feed.posts)) == ("jsonl", 1)

    def test_rss_in_latin_1(self) -> None:
        feed = read_feed(str(DATA / "sample_rss.xml"))
        assert (feed.kind, len(feed.posts), feed.name) == ("rss", 25, "sample_rss")
        assert "café" in feed.posts[0].text
        assert "<b>" not in feed.posts[0].text
        assert [tuple(broken) for broken in feed.broken] == [(26, "no time")]

    def test_atom_takes_the_time_of_publication(self) -> None:
        feed = read_feed(str(DATA / "sample_atom.xml"))
        assert (feed.kind, len(feed.posts)) == ("atom", 24)
        assert max(post.at for post in feed.posts) == datetime(2026, 10, 7, 7, tzinfo=UTC)

    def test_the_sample_says_in_every_row_that_it_is_one(self) -> None:
        feed = read_feed(str(SAMPLE))
        assert (len(feed.posts), [broken.row for broken in feed.broken]) == (201, [121])
        assert all(json.loads(line)["sample"] is True for line in SAMPLE.read_text().splitlines())


class TestColumns:
    def test_roles_come_from_content(self, tmp_path: Path) -> None:
        lines = ["stamp;label;n;page;msg;fixed;author"]
        for i in range(60):
            lines.append(
                f"2026-01-01 10:{i:02};topic {i % 7};{i}.5;https://example.com/{i};some longer words {i};x;me{i % 3}"
            )
        feed = read_feed(write(tmp_path, "\n".join(lines)))
        assert roles(feed) == {
            "stamp": "time", "label": "topic", "n": "number", "page": "link", "msg": "text", "fixed": "constant",
            "author": "facet",
        }  # fmt: skip
        assert feed.posts[3].text == "some longer words 3"

    def test_a_column_of_creation_wins_over_one_of_change(self, tmp_path: Path) -> None:
        feed = read_feed(write(tmp_path, "updated_at,created_at,t\n2026-03-01,2026-01-01,a\n2026-03-02,2026-01-02,b\n"))
        assert roles(feed)["created_at"] == "time"
        assert feed.posts[0].at.month == 1

    def test_numbers_are_no_time_beside_a_real_one(self, tmp_path: Path) -> None:
        feed = read_feed(write(tmp_path, "id,moment\n1700000000,2026-01-01\n1700000001,2026-01-02\n"))
        assert feed.posts[0].at == datetime(2026, 1, 1, tzinfo=UTC)

    def test_a_few_labels_on_many_rows_are_not_topics(self, tmp_path: Path) -> None:
        rows = [
            f"2026-01-01T{i // 60 % 24:02}:{i % 60:02}:00,{'en' if i % 2 else 'de'},repo/{i % 500}" for i in range(1000)
        ]
        feed = read_feed(write(tmp_path, "at,tongue,repo\n" + "\n".join(rows)))
        assert roles(feed) == {"at": "time", "tongue": "facet", "repo": "topic"}

    def test_columns_of_one_name_are_told_apart(self, tmp_path: Path) -> None:
        feed = read_feed(write(tmp_path, "at,a,a_4,a,,a\n2026-01-01,1,2,3,4,5\n"))
        assert feed.posts[0].fields == {
            "at": "2026-01-01", "a": "1", "a_4": "2", "a_4_4": "3", "column_5": "4", "a_6": "5",
        }  # fmt: skip

    def test_a_hundred_thousand_columns(self, tmp_path: Path) -> None:
        names, values = ",".join(f"c{i}" for i in range(100_000)), ",".join("1" * 100_000)
        assert len(read_feed(write(tmp_path, f"at,{names}\n2026-01-01,{values}\n")).posts) == 1


class TestBrokenRows:
    def test_each_is_counted_and_named(self, tmp_path: Path) -> None:
        content = HEAD + "2026-01-01,a\nNaN,b\n,c\n2026-01-02\n2026-01-03,d,extra\n2026-01-04,e,\n2026-01-05,f\n"
        feed = read_feed(write(tmp_path, content))
        assert [(post.row, post.fields["what"]) for post in feed.posts] == [(1, "a"), (6, "e"), (7, "f")]
        assert [tuple(broken) for broken in feed.broken] == [
            (2, "when is not a time: 'NaN'"),
            (3, "no time"),
            (4, "has 1 columns instead of 2"),
            (5, "has 3 columns instead of 2"),
        ]

    def test_a_quote_that_never_closes_breaks_one_row(self, tmp_path: Path) -> None:
        rows = "".join(f"2026-01-01,row {i}\n" for i in range(3, 300))
        feed = read_feed(write(tmp_path, HEAD + '2026-01-01,"fine\nover two lines"\n2026-01-01,"open\n' + rows))
        assert [tuple(broken) for broken in feed.broken] == [(2, "a quote is not closed")]
        assert [post.row for post in feed.posts] == [1, *range(3, 300)]
        assert feed.posts[0].fields["what"] == "fine\nover two lines"

    def test_an_open_quote_does_not_swallow_a_quoted_row(self, tmp_path: Path) -> None:
        feed = read_feed(write(tmp_path, HEAD + '2026-01-01,"open\n2026-01-02,"closed"\n2026-01-03,plain\n'))
        assert [tuple(broken) for broken in feed.broken] == [(1, "a quote is not closed")]
        assert [(post.row, post.fields["what"]) for post in feed.posts] == [(2, "closed"), (3, "plain")]

    @pytest.mark.parametrize("rows", [20_000, 20_001])
    def test_nothing_but_open_quotes_ends(self, tmp_path: Path, rows: int) -> None:
        lines = "".join(f'2026-01-01,"open {i}\n' for i in range(rows))
        feed = read_feed(write(tmp_path, f"{HEAD}2026-01-01,fine\n{lines}"))
        assert [post.row for post in feed.posts] == [1]
        assert len(feed.broken) == rows

    def test_open_quotes_to_the_end_are_given_up_aloud(self, tmp_path: Path) -> None:
        lines = "".join(f'2026-01-01,"open {i}" x\n2026-01-01,"\n' for i in range(2_000))
        feed = read_feed(write(tmp_path, f"{HEAD}2026-01-01,fine\n{lines}"))
        assert feed.posts[0].row == 1
        assert feed.broken

    def test_xml_that_ends_early_keeps_what_came_before(self, tmp_path: Path) -> None:
        text = (DATA / "sample_atom.xml").read_text()
        feed = read_feed(write(tmp_path, text[: text.index("<id>urn:sample:20<")], "cut.xml"))
        assert 19 <= len(feed.posts) <= 20
        assert "malformed" in feed.broken[-1].why

    def test_huge_fields_and_nuls(self, tmp_path: Path) -> None:
        feed = read_feed(
            write(tmp_path, f"{HEAD}2026-01-01,{'9' * 1_000_000}\n2026-01-0\0002,b\0b\n2026-01-03,{'x ' * 500_000}z\n")
        )
        assert [len(post.fields["what"]) for post in feed.posts] == [1_000_000, 2, 1_000_001]
        assert feed.posts[1].fields["what"] == "bb"


class TestEncodings:
    TEXT = HEAD + "2026-01-01,Grüße – 東京\n2026-01-02,Ελλάδα\n"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_unicode_in_all_its_forms(self, tmp_path: Path, encoding: str) -> None:
        feed = read_feed(write(tmp_path, self.TEXT.encode(encoding)))
        assert [post.fields["what"] for post in feed.posts] == ["Grüße – 東京", "Ελλάδα"]

    def test_windows_1252_and_single_bad_bytes(self, tmp_path: Path) -> None:
        feed = read_feed(write(tmp_path, HEAD.encode() + b"2026-01-01,caf\xe9 \x93q\x94 \x81\n"))
        assert feed.posts[0].fields["what"] == "café “q” \ufffd"

    def test_an_odd_codec_is_not_used(self, tmp_path: Path) -> None:
        text = (DATA / "sample_atom.xml").read_text().replace('encoding="utf-8"', 'encoding="unicode_escape"')
        feed = read_feed(write(tmp_path, text.replace("Kelpwright", r"\u004belp")))
        assert r"\u004belp" in feed.posts[-1].text


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "empty"),
            (b"  \n\n ", "empty"),
            (b"a,b\n1,2\n3,4\n", "no column holds a time"),
            (b"when,what\n", "no readable row"),
            (b"\x00\x01\x02\xff" * 50, "empty|no column|no readable row"),
            (b"[1, 2", "not valid JSON"),
            (b'{"a": 1}\n', "no column holds a time"),
            (b"[" * 100_000, "not valid JSON"),
            (b"[" + b"9" * 10_000 + b"]", "not valid JSON"),
            (b"{}", "no column|no readable row|no list"),
            (b"[]", "no readable row|no list"),
            (b"[1, 2]", "no readable row; row 1 is a JSON number"),
            (b"<!DOCTYPE html><html><body>hi</body></html>", "web page"),
            (b"<?xml version='1.0'?><catalog><book/></catalog>", "neither RSS nor Atom"),
            (b"<rss version='2.0'><channel><title>t</title></channel></rss>", "no readable row"),
        ],
    )
    def test_unusable_content_is_one_error_with_a_remedy(self, tmp_path: Path, content: bytes, said: str) -> None:
        with pytest.raises(FeedUnreadable, match=said) as caught:
            read_feed(write(tmp_path, content, "bad"))
        assert "\n" not in str(caught.value)
        assert caught.value.hint
        assert str(tmp_path) in caught.value.message

    @pytest.mark.parametrize("prolog", ["", "<!-- <rss> -->\n<?x y?>"])
    @pytest.mark.parametrize("doctype", ["<!DOCTYPE rss [", "<!doctype rss SYSTEM 'a>b' \n["])
    def test_entities_are_refused_before_they_are_read(self, tmp_path: Path, prolog: str, doctype: str) -> None:
        secret = tmp_path / "secret"
        secret.write_text("canary-7f3a")
        body = "<rss><channel><item><title>&x;</title><pubDate>2026-01-01</pubDate></item></channel></rss>"
        bomb = f"<?xml version='1.0'?>{prolog}{doctype}<!ENTITY x SYSTEM 'file://{secret}'>]>{body}"
        with pytest.raises(FeedUnreadable, match="its own entities") as caught:
            read_feed(write(tmp_path, bomb, "bomb.xml"))
        assert "canary" not in str(caught.value)

    @pytest.mark.parametrize("trap", ["<a>" * 300_000, "<a " + " ".join(f"a{i}='x'" for i in range(100_000)) + "/>"])
    def test_xml_that_takes_forever_is_refused(self, tmp_path: Path, trap: str) -> None:
        with pytest.raises(FeedUnreadable, match="too many levels or attributes"):
            read_feed(write(tmp_path, f"<rss version='2.0'><channel>{trap}", "trap.xml"))

    def test_a_doctype_without_entities_is_fine(self, tmp_path: Path) -> None:
        text = (
            (DATA / "sample_rss.xml")
            .read_text("latin-1")
            .replace("<rss", '<!DOCTYPE rss PUBLIC "-//A//B" "x.dtd"><rss', 1)
        )
        assert len(read_feed(write(tmp_path, text.encode("latin-1"))).posts) == 25

    def test_size_limit(self, tmp_path: Path) -> None:
        path = write(tmp_path, HEAD + "2026-01-01,a\n")
        assert read_feed(path, max_bytes=23).posts
        with pytest.raises(FeedUnreadable, match="larger than 22 bytes") as caught:
            read_feed(path, max_bytes=22)
        assert "CHIMERA_FEED_MAX_BYTES" in caught.value.hint

    def test_what_is_not_a_regular_file_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for name in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
            with pytest.raises(FeedUnreadable, match="not a regular file"):
                read_feed(str(name))
        for name in (str(tmp_path / "missing"), "", "a\0b", "ftp://example.com/x", "file:///etc/passwd", "x" * 5000):
            with pytest.raises(FeedUnreadable):
                read_feed(name)


def test_addresses_are_shown_without_their_secrets() -> None:
    shown = source_module.shown("https://me:pw@example.com:8443/a/feed.xml?tag=ai&api_key=canary&X-Signature=s#frag")
    assert shown == "https://example.com:8443/a/feed.xml?tag=ai&api_key=...&X-Signature=..."


def test_the_same_bytes_give_the_same_feed(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLE.read_bytes())
    assert read_feed(path) == read_feed(path)
