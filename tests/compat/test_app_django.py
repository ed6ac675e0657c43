"""Django's cache and sessions while their broker is in trouble."""

import pathlib
import sys

import pytest

pytest.importorskip("django_redis", reason="python3-django-redis is not installed (deploy/setup.sh test)")
PROGRAM = pathlib.Path(__file__).parent / "apps" / "django_app.py"


def test_what_was_taken_is_there_and_nothing_is_counted_twice(scene):
    scene.run(sys.executable, PROGRAM)
    scene.trouble(share=100)
    scene.finish()
