"""The options of `serve` that are for HTTP, and what they say together. Not the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from control_plane.errors import BadInput

if TYPE_CHECKING:
    from server.http_options import HttpOptions

Http = Annotated[
    str | None,
    typer.Option("--http", help="Listen on this HOST:PORT for MCP over streamable HTTP, at /mcp."),
]
Audience = Annotated[
    str | None, typer.Option(help="The URL under which clients know this server; tokens name it.")
]
AllowedHosts = Annotated[
    list[str] | None, typer.Option("--allowed-host", help="A value of Host that is served; exact.")
]
AllowedOrigins = Annotated[
    list[str] | None,
    typer.Option("--allowed-origin", help="A value of Origin that is served; exact."),
]
Issuers = Annotated[
    Path | None, typer.Option(help="The file of outside issuers; else PAYBILL_ISSUERS_FILE.")
]
TlsCert = Annotated[Path | None, typer.Option(help="The certificate's chain, PEM.")]
TlsKey = Annotated[Path | None, typer.Option(help="The certificate's key, PEM.")]
BehindProxy = Annotated[
    bool, typer.Option("--behind-proxy", help="TLS ends at a proxy in front of this server.")
]
AddressFile = Annotated[
    Path | None, typer.Option(help="Write the server's URL to this file when it listens.")
]


@dataclass(frozen=True)
class HttpArguments:
    """The options as they were typed."""

    http: str | None
    audience: str | None
    allowed_hosts: list[str] | None
    allowed_origins: list[str] | None
    issuers: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    behind_proxy: bool
    address_file: Path | None

    def require_none(self) -> None:
        """Raise BadInput when one was given without `--http`."""
        given = {
            "--audience": self.audience,
            "--allowed-host": self.allowed_hosts,
            "--allowed-origin": self.allowed_origins,
            "--issuers": self.issuers,
            "--tls-cert": self.tls_cert,
            "--tls-key": self.tls_key,
            "--behind-proxy": self.behind_proxy,
            "--address-file": self.address_file,
        }
        for name, value in given.items():
            if value:
                raise BadInput(name, "is for --http")

    def options(self, issuers_file: Path | None, connections_max: int) -> HttpOptions:
        """What they say together. Raises BadInput naming the option."""
        from server.http_options import (
            HttpOptions,
            parse_audience,
            parse_bind,
            parse_hosts,
            parse_origins,
            parse_tls,
            require_closed,
        )

        found = HttpOptions(
            bind=parse_bind(self.http or ""),
            audience=parse_audience(self.audience),
            hosts=parse_hosts(self.allowed_hosts or ()),
            origins=parse_origins(self.allowed_origins or ()),
            tls=parse_tls(self.tls_cert, self.tls_key),
            issuers=self.issuers or issuers_file,
            address_file=self.address_file,
            connections_max=connections_max,
        )
        require_closed(found, behind_proxy=self.behind_proxy)
        return found
