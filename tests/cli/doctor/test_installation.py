"""The doctor's checks of packages and versions."""

from cli.doctor.findings import OK, WARNING, WRONG
from cli.doctor.installation import PACKAGES, ROOT, examine, origins, required, rivals, shadows, version_numbers


def test_of_an_installation_that_is_right_everything_is_said_to_be():
    assert {each.level for each in examine()} == {OK}


def test_a_package_that_is_imported_from_elsewhere_or_from_nowhere_is_wrong(tmp_path):
    places = {name: str(ROOT / name / "__init__.py") for name in PACKAGES}
    assert [each.level for each in origins(places, ROOT)] == [OK]
    (other,) = origins({**places, "proxy": str(tmp_path / "proxy.py")}, ROOT)
    assert (other.level, other.text) == (WRONG, f"'proxy' is imported from {tmp_path}/proxy.py, which is not ours")
    (missing,) = origins({**places, "cli": ""}, ROOT)
    assert (missing.level, missing.text) == (WRONG, "there is no package 'cli' to import")


def test_a_distribution_that_installs_a_package_of_our_name_is_named():
    (problem,) = rivals({"fabric": ["event-fabric", "fabric", "fabric"]}, {"fabric": "3.2.2"})
    assert (problem.level, problem.text) == (WRONG, "fabric 3.2.2 installs a package 'fabric', too")
    assert rivals({"fabric": ["event-fabric"], "zmq": ["pyzmq"]}, {}) == []


def test_a_file_that_programs_here_would_import_in_our_place_is_a_warning(tmp_path):
    (tmp_path / "proxy.py").write_text("")
    (problem,) = shadows(tmp_path, ROOT)
    assert problem.level == WARNING
    assert "imports proxy.py in place of our 'proxy'" in problem.text
    assert shadows(ROOT, ROOT) == []


def test_a_distribution_that_is_too_old_or_missing_is_wrong():
    assert required("click", ">=1.0") == []
    (old,) = required("click", ">=1000.0")
    (missing,) = required("no-such-distribution", ">=1.0")
    assert "is too old: >=1000.0 is needed" in old.text
    assert (missing.text, missing.fix) == (
        "no-such-distribution is not installed: >=1.0 is needed",
        "pip install 'no-such-distribution>=1.0'",
    )
    assert version_numbers("26.2.0rc1") == (26, 2, 0)
