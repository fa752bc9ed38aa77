from cli.demo.alarm import MIN_VALUES, WINDOW, Alarm, WatchedValue


def judge(level, *values, now=0.0):
    return [level.judge(value, now) for value in values]


def test_nothing_is_unusual_before_there_is_a_usual():
    assert judge(WatchedValue(), *([0] * (MIN_VALUES - 1)), 1e9) == [None] * MIN_VALUES


def test_above_the_usual_by_more_than_it_varies_is_raised_once_and_cleared_at_the_usual():
    level = WatchedValue()
    assert judge(level, 10, 14, 10, 13, 13) == [None] * 5
    assert judge(level, 30, now=7.0) == ["raised"]
    assert level.since == 7.0
    assert judge(level, 40, 40) == [None, None]
    assert judge(level, 5, now=9.5) == ["cleared"]
    assert (level.since, level.lasted) == (None, 2.5)


def test_a_steady_value_needs_more_than_a_trifle():
    level = WatchedValue()
    judge(level, *([100] * 10))
    assert judge(level, 101) == [None]
    assert judge(level, 110) == ["raised"]


def test_what_stays_becomes_the_usual():
    level = WatchedValue()
    judge(level, *([10] * 10))
    assert judge(level, 90) == ["raised"]
    assert "cleared" in judge(level, *([90] * (WINDOW + 1)))


def test_the_first_value_is_not_counted():
    alarm = Alarm()
    for busy in (100, 5, 5, 5):
        assert alarm.alerts("machine.memory", {"used_mb": busy}, 0.0) == []
    ((topic, alert),) = alarm.alerts("machine.memory", {"used_mb": 6_000}, 0.0)
    assert topic == "alert.raised"
    assert alert == {"what": "memory", "says": "6,000 MB, 5 is usual here"}


def test_an_alert_has_its_value_its_duration_and_for_cpu_the_busiest_process():
    alarm = Alarm()
    for busy in (1.0, 1.0, 2.0, 1.0, 1.0):
        assert alarm.alerts("machine.cpu", {"busy": busy, "switches": 10, "busiest": None}, 0.0) == []
    raised = alarm.alerts("machine.cpu", {"busy": 80.0, "switches": 10, "busiest": "make"}, 1.0)
    assert raised == [("alert.raised", {"what": "cpu", "says": "80.0 %, 1.2 is usual here", "busiest": "make"})]
    cleared = alarm.alerts("machine.cpu", {"busy": 1.0, "switches": 10, "busiest": None}, 3.5)
    assert cleared[0][0] == "alert.cleared"
    assert cleared[0][1]["lasted"] == 2.5


def test_other_topics_raise_no_alerts():
    assert Alarm().alerts("machine.busiest", {"processes": []}, 0.0) == []
