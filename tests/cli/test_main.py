"""The command line: quick help, one line for a mistake, exit statuses."""

import os
import subprocess
import sys

import pytest

from openlvm.cli import main as command_line
from openlvm.cli.main import VERBS, main


def _python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **environment}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=settings, timeout=60)


@pytest.fixture
def verb(monkeypatch):
    """A verb `fail` whose work is a function given by the test."""

    def install(action):
        module = type(sys)("openlvm_test_verb")
        module.run = action
        monkeypatch.setitem(sys.modules, "openlvm_test_verb", module)
        monkeypatch.setitem(command_line.VERBS, "fail", ("", "openlvm_test_verb"))

    return install


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from openlvm.cli.main import main; main(['--help']);"
        "heavy = {'torch', 'tyro', 'rich', 'numpy', 'PIL'} & set(sys.modules); assert not heavy, heavy"
    )
    shown = _python("-c", code)
    assert shown.returncode == 0, shown.stderr
    assert all(f"  {verb} " in shown.stdout for verb in VERBS)


def test_importing_the_package_loads_no_torch():
    shown = _python("-c", "import sys, openlvm; assert 'torch' not in sys.modules and 'numpy' not in sys.modules")
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("verb_name", VERBS)
def test_help_of_every_verb_imports_no_torch(verb_name):
    code = (
        "import sys; from openlvm.cli.main import main\n"
        f"try: main([{verb_name!r}, '--help'])\n"
        "except SystemExit as leaving: assert not leaving.code\n"
        "assert 'torch' not in sys.modules or " + repr(verb_name in ("train",))
    )
    shown = _python("-c", code)
    assert shown.returncode == 0, shown.stderr
    assert "openlvm " + verb_name in shown.stdout


def test_module_equals_command():
    shown = _python("-m", "openlvm", "--version")
    assert shown.returncode == 0
    assert shown.stdout.startswith("openlvm ")


def test_unknown_verb_rejects_with_near_names(capsys):
    assert main(["tokenise", "x"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "openlvm: error: no verb called 'tokenise'; did you mean tokenize or tokenizer?\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("bad\n  value"), "openlvm: error: bad value\n"),
        (FileNotFoundError("no folder x"), "openlvm: error: no folder x\n"),
        (ImportError("pip install openlvm[video]"), "openlvm: error: pip install openlvm[video]\n"),
        (OSError(28, "No space left on device", "x"), "openlvm: error: [Errno 28] No space left on device: 'x'\n"),
    ],
)
def test_mistake_gives_one_line_and_status_two(verb, capsys, error, line):
    def fail(argv):
        raise error

    verb(fail)
    assert main(["fail"]) == 2
    assert capsys.readouterr() == ("", line)


def test_our_own_mistake_is_not_hidden(verb):
    def fail(argv):
        assert argv == [1]

    verb(fail)
    with pytest.raises(AssertionError):
        main(["fail"])


def test_traceback_is_shown_on_demand(verb, monkeypatch):
    def fail(argv):
        raise ValueError("bad value")

    verb(fail)
    monkeypatch.setenv("OPENLVM_TRACEBACK", "1")
    with pytest.raises(ValueError, match="bad value"):
        main(["fail"])


def test_interrupt_gives_status_130(verb, capsys):
    def fail(argv):
        raise KeyboardInterrupt

    verb(fail)
    assert main(["fail"]) == 130
    assert capsys.readouterr().err == "openlvm: interrupted\n"


def test_closed_pipe_is_quiet():
    code = "import sys; from openlvm.cli.main import main; sys.exit(main(['tokenize', '--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()  # before anything can be written
    assert process.stderr.read() == b""
    assert process.wait(60) == 141
