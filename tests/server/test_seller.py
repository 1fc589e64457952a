"""Who sells: the file that `init` writes where there is none. Not what an invoice shows of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.errors import BadInput
from server import seller


@pytest.mark.parametrize("name", ["Northwind", 'A "b": #c\\n', "Łódź & Söhne"])
def test_the_sample_is_valid_and_names_the_workspace(tmp_path: Path, name: str) -> None:
    seller.write_sample(tmp_path, name)
    held = seller.read_seller(tmp_path / seller.FILE_NAME)
    assert held is not None
    assert (held.seller.name, held.seller.address) == (name, (seller.HINT,))
    assert [one.name for one in tmp_path.iterdir()] == [seller.FILE_NAME]


def test_everything_that_the_sample_leaves_out_is_valid_once_it_is_let_in(tmp_path: Path) -> None:
    seller.write_sample(tmp_path, "Northwind")
    file = tmp_path / seller.FILE_NAME
    lines = [
        line.replace("# ", "", 1) if ": " in line or line.startswith(("# bank", "#   -")) else line
        for line in file.read_text().splitlines()
        if not line.startswith(("# Who", "# What", "# Where", "# Invoices", "  # Up"))
    ]
    file.write_text("\n".join(lines))
    held = seller.read_seller(file)
    assert held is not None
    assert (len(held.seller.tax_ids), len(held.bank), held.pay_at is None) == (1, 1, False)


def test_a_file_that_stands_is_left_alone_even_where_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / seller.FILE_NAME
    file.write_text("seller: nobody\n")
    seller.write_sample(tmp_path, "Northwind")
    with pytest.raises(BadInput, match="seller"):
        seller.read_seller(file)
