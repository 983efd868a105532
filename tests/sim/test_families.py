"""The table of models."""

import pytest

from relay.sim.families import Backend, family_of, models_of


@pytest.mark.parametrize("backend", Backend)
def test_chunks_are_whole_audio_tokens(backend: Backend) -> None:
    """An audio token is 40 ms; every chunk is a multiple of it."""
    for model in models_of(backend):
        prefix = "models/" if backend is Backend.DEV else "publishers/google/models/"
        family = family_of(prefix + model, backend)

        assert family is not None
        assert all(chunk % 40 == 0 for chunk in family.chunks_ms)


@pytest.mark.parametrize("name", ["gemini-3.8-live", "models/", "models/models/gemini-3.8-live", "", "models/x"])
def test_other_spellings_of_a_model_are_unknown(name: str) -> None:
    """The name must be spelled as setup spells it."""
    assert family_of(name, Backend.DEV) is None
