"""The page of faults names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
PROOF = re.compile(r"\[([^]]+)\]\(\.\./(tests/[\w/]+\.py)\)")


def test_every_proof_the_page_of_faults_names_is_a_test() -> None:
    proofs = PROOF.findall(PAGE.read_text())
    assert len(proofs) > 40
    missing = [
        f"{path}: {words}"
        for words, path in proofs
        if f"def test_{words.replace(' ', '_')}(" not in (ROOT / path).read_text()
    ]
    assert missing == []
