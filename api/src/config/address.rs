//! Addresses: the syntax `host:port` and its checks.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

use super::source::{clipped, quoted};

/// Reason why a text is not an address, and a correct form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub cause: String,
    pub cure: String,
}

/// Returns the address without the `tcp://` that some formats write before it.
pub(super) fn without_scheme(address: &str) -> &str {
    match address.get(..SCHEME.len()) {
        Some(head) if head.eq_ignore_ascii_case(SCHEME) => &address[SCHEME.len()..],
        _ => address,
    }
}

/// Checks a complete address.
pub(super) fn check(address: &str) -> Result<(), Flaw> {
    if address.is_empty() {
        return Err(flaw("the address is empty", EXAMPLE));
    }
    if let Some((scheme, _)) = address.split_once("://") {
        let cause = format!("{} begins with {}", quoted(address), quoted(&format!("{scheme}://")));
        return Err(flaw(cause, "write host:port alone; TCP is the only transport"));
    }
    if address.starts_with('[') {
        return check_bracketed(address);
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        let example = if check_host(address).is_ok() { address } else { "localhost" };
        return Err(flaw(
            format!("{} has no port", quoted(address)),
            format!("write host:port, for example {:?}", format!("{example}:8001")),
        ));
    };
    check_host(host)?;
    check_port(port).map(|_| ())
}

/// Checks a host without a port. An IPv6 host needs brackets.
pub(super) fn check_host(host: &str) -> Result<(), Flaw> {
    if host.is_empty() {
        return Err(flaw("the address has no host", EXAMPLE));
    }
    if host == "*" {
        return Err(flaw(
            "\"*\" is not a host that peers could connect to",
            "write the name or the IP address of the server",
        ));
    }
    if let Some(inner) = host.strip_prefix('[') {
        return match inner.strip_suffix(']').map(str::parse::<Ipv6Addr>) {
            Some(Ok(_)) => Ok(()),
            _ => Err(flaw(format!("{} is not an IPv6 address in brackets", quoted(host)), "write it like [::1]")),
        };
    }
    if host.contains(':') {
        return Err(flaw(
            format!("the host {} holds a ':'", quoted(host)),
            "put an IPv6 address in brackets, like [::1]:8001",
        ));
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && host.parse::<Ipv4Addr>().is_err() {
        return Err(flaw(
            format!("{} is not an IPv4 address", quoted(host)),
            "write four numbers from 0 to 255, like 127.0.0.1",
        ));
    }
    if let Some(odd) = host.chars().find(|&c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        let cure = "use letters, digits, '-', '_' and '.'; write an international name in its xn-- form";
        return Err(flaw(format!("the host {} holds {:?}", quoted(host), odd), cure));
    }
    if host.len() > MAX_HOST || host.starts_with('.') || host.contains("..") {
        return Err(flaw(
            format!("{} is not the name of a host", quoted(host)),
            "write a name like server-1.example.org, at most 253 bytes",
        ));
    }
    Ok(())
}

/// Checks a port in text form and returns it.
pub(super) fn check_port(text: &str) -> Result<u16, Flaw> {
    match text.parse::<u16>() {
        _ if text.is_empty() => Err(flaw("the port after the ':' is missing", EXAMPLE)),
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(flaw(format!("{} is not a port: ports are 1 to 65535", quoted(text)), "write the port as a number"))
        }
        Ok(1..) if text.starts_with('0') => {
            Err(flaw(format!("the port {} begins with a zero", clipped(text)), "write it without"))
        }
        Ok(0) => Err(flaw("0 is not a port: peers could not find the server", "choose a port from 1 to 65535")),
        Ok(port) => Ok(port),
        Err(_) => {
            Err(flaw(format!("{} is not a port: ports are 1 to 65535", clipped(text)), "choose a port in that range"))
        }
    }
}

fn check_bracketed(address: &str) -> Result<(), Flaw> {
    match address.split_once(']') {
        Some((_, "")) => {
            Err(flaw(format!("{} has no port", quoted(address)), "write host:port, for example \"[::1]:8001\""))
        }
        Some((_, rest)) if rest.starts_with(':') => {
            check_port(&rest[1..])?;
            // The standard library's grammar also accepts a scope id, as in [fe80::1%2]:8001.
            match address.parse::<SocketAddrV6>() {
                Ok(_) => Ok(()),
                Err(_) => Err(flaw(
                    format!("{} is not an IPv6 address and port", quoted(address)),
                    "write it like [::1]:8001",
                )),
            }
        }
        _ => Err(flaw(format!("{} is not an IPv6 address and port", quoted(address)), "write it like [::1]:8001")),
    }
}

fn flaw(cause: impl Into<String>, cure: impl Into<String>) -> Flaw {
    Flaw { cause: cause.into(), cure: cure.into() }
}

const SCHEME: &str = "tcp://";
const EXAMPLE: &str = "write host:port, for example \"127.0.0.1:8001\"";
/// Longest host name in the domain name system, in bytes.
const MAX_HOST: usize = 253;
