"""Words are matched without a model: by their stems, and by how rare they are among what is compared."""

from chimera.core.lexical import Bm25, stems


def test_stems_are_what_carries_meaning() -> None:
    assert stems("Find what is rising in the feeds") == ["find", "rise", "feed"]
    assert stems("get_userName, listHTTPServers") == stems("get user name list HTTPServers")
    assert stems("next week's numbers, the users’ own") == stems("next week numbers the users own")
    assert stems("Größe 日本語") == ["größe", "日本語"]
    assert stems("of the and") == stems("") == []


def test_a_rare_word_decides() -> None:
    index = Bm25([[("read a file", 1.0)], [("read a feed", 1.0)], [("read a book", 1.0)]])
    assert index.ranked("read the feed")[0][0] == 1
    assert index.idf("feed") > index.idf("read")
    assert index.idf("nowhere") > index.idf("feed"), "a word that nothing mentions is the rarest"


def test_ties_go_to_the_first_and_what_shares_nothing_is_left_out() -> None:
    index = Bm25([[("a cat", 1.0)], [("a cat", 1.0)], [("a dog", 1.0)]])
    assert [place for place, _ in index.ranked("cat")] == [0, 1]
    assert index.ranked("bird") == []
    assert Bm25([]).ranked("cat") == []


def test_coverage_is_the_share_of_meaning_that_is_mentioned() -> None:
    index = Bm25([[("write a report", 1.0)], [("send mail", 1.0)]])
    assert index.coverage(stems("write a report"), 0) == 1.0
    assert index.coverage(stems("write a report"), 1) == 0.0
    assert 0 < index.coverage(stems("write a poem"), 0) < 0.5
    assert index.coverage([], 0) == 0.0
    assert (index.shared(stems("write, write a poem"), 0), index.shared(stems("poem"), 0)) == (1, 0)


def test_a_field_weighs_what_it_is_given() -> None:
    index = Bm25([[("alpha", 2.0), ("beta gamma", 1.0)], [("beta", 2.0), ("alpha gamma", 1.0)]])
    assert index.ranked("alpha")[0][0] == 0
    assert index.ranked("beta")[0][0] == 1
