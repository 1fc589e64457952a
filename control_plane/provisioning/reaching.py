"""What a configuration would have Terraform itself run or ask, while it plans or applies. Not what it makes.

The second line behind scan.py, which refuses the same before Terraform sees it: Terraform says it in
its own words here, of whatever module came to be planned.
"""

from __future__ import annotations

from typing import Final

from control_plane.provisioning.planned import Tree, configured

# A cloud's own data sources ask the API that its resources are made by.
_CLOUDS: Final = ("aws_", "azurerm_", "google_", "ibm_", "oci_")


def has_provisioner(plan_json: Tree) -> bool:
    """Whether any resource, in any module, holds a provisioner of whatever type."""
    return any("provisioners" in one for _address, one in configured(plan_json))


def reaching_out(plan_json: Tree) -> tuple[str, ...]:
    """The addresses of data sources that ask anything but the cloud that the stack is made on."""
    return tuple(
        sorted(
            address
            for address, one in configured(plan_json)
            if one.get("mode") == "data" and not str(one["type"]).startswith(_CLOUDS)
        )
    )
