"""Which language a post is in."""

import sys

import pytest

from microblog import detection
from microblog.detection import detect

pytest.importorskip("langdetect")


@pytest.mark.parametrize(
    "text, code",
    [
        ("Just had a coffee in the sun, what a lovely day", "en"),
        ("Hoy hace un día estupendo para pasear por el campo", "es"),
        ("Сегодня отличная погода, пойду гулять в парк", "ru"),
        ("Heute ist ein schöner Tag für einen Spaziergang", "de"),
        ("今日はいい天気ですね", "ja"),
        ("今天天气很好", "zh"),
        # Without any syllable: what only one country writes so, and what more than one does.
        ("東京大学入試", "ja"),
        ("国会議員選挙", "ja"),
        ("駅前広場", "ja"),
        ("地震発生", "ja"),
        ("髙島屋", "ja"),
        ("我喜欢学习中文", "zh"),
        ("我愛你", "zh"),
        ("中國人民", "zh"),
        ("天氣真好", "zh"),
        ("世界人權宣言", "zh"),
        ("增加", "zh"),
        ("北京大学", None),
        ("東京", None),
        ("定休日", None),
        # Neighbours that look alike.
        ("東京都知事選挙の投票所", "ja"),
        ("Днес времето е прекрасно и ще отида на разходка в парка", "bg"),
        ("Данас је лепо време, идем у шетњу поред реке", "sr"),
        ("Ноћас ћемо ићи у биоскоп са пријатељима", "sr"),
        ("Сьогодні гарна погода, піду гуляти в парк", "uk"),
        ("Hoxe fai un día moi bo para pasear pola praia coa familia", None),
        ("Hoje está um dia lindo para passear na praia", "pt"),
        ("امروز هوا خیلی خوب است و به پارک می‌روم", "fa"),
        ("آج موسم بہت اچھا ہے اور میں پارک جا رہا ہوں", "ur"),
        ("اليوم الطقس جميل جدا وسأذهب إلى الحديقة", "ar"),
        ("오늘 날씨가 좋네요", "ko"),
        # Addresses and names are no words of a language.
        ("Смотрите, какая красивая книга: https://example.org/an-english-address @susan_in_english", "ru"),
        ("https://example.org/hello", None),
        ("ok", None),
        ("", None),
        ("😀😀😀😀😀😀😀😀😀😀", None),
        ("1234567890 +-*/", None),
    ],
)
def test_detect(text, code):
    assert detect(text) == code


def test_without_langdetect(monkeypatch):
    detection._factory.cache_clear()
    monkeypatch.setitem(sys.modules, "langdetect.detector_factory", None)
    try:
        assert detect("Just had a coffee in the sun, what a lovely day") is None
        assert detect("今日はいい天気ですね") == "ja"
    finally:
        detection._factory.cache_clear()
