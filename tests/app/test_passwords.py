import pytest

from microblog.models.passwords import easy_to_guess

KNOWN = ("susan", "bob", "al", "s.miller@example.org", "Our place")


@pytest.mark.parametrize(
    "password",
    [
        *("password", "Password1", "P@ssw0rd2024!", "!!letmein", "iloveyou", "pass-word", "monkeymonkey"),
        *("12345678", "87654321", "19871231", "11111111", "aaaaaaaaaaaa", "abababab", "a" * 128),
        *("qwertyuiop", "POIUYTREWQ", "1q2w3e4r5t", "abcdefgh", "qwerqwer", "zaq12wsx", "asdfghjk1!"),
        *("1029384756", "bob12345", "lkjhg987"),
        *("йцукенгш", "пароль123", "SUSAN1234", "$usan2024", "s.miller", "s.miller@example.org", "OurPlace1"),
    ],
)
def test_easy_to_guess(password):
    assert easy_to_guess(password, *KNOWN)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse",
        "Zug-um-Zug",
        "kD93mfke",
        "monkeys eat rice",
        "susan drinks tea",
        "日本語のパスワード",
        "83920175640",
        "caabbcab",
        "al83920k",
    ],
)
def test_not_so_easy(password):
    assert not easy_to_guess(password, *KNOWN)
