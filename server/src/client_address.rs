//! Where a request comes from, also behind reverse proxies.
//!
//! What stands in `X-Forwarded-For` is written by whoever sent it, so it is believed only as far as proxies wrote it
//! that the setting `trusted-proxies` names: from its end, up to the first address that is none of them. Failed logins
//! are counted for that address, and the audit trail names it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{HttpRequest, web};
use ipnet::IpNet;

use crate::app::App;

/// The header that proxies add the address to from which they were asked.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most addresses of the header that are looked at.
const MOST_HOPS: usize = 16;

/// Networks of the proxies whose word is taken, separated by commas: `10.0.0.5, 192.168.0.0/16, ::1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Where a request comes from.
pub fn of(request: &HttpRequest) -> Option<IpAddr> {
    let app = request.app_data::<web::Data<App>>()?;
    app.config.trusted_proxies.client(request.peer_addr(), request.headers())
}

/// What somebody can send from: one address of IPv4, a network of IPv6. What is counted is counted for it.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = |part: &str| {
            let one = part.parse::<IpAddr>().map(IpNet::from);
            one.or_else(|_| part.parse())
                .map_err(|_| format!("\"{part}\" is not an address or network such as 10.0.0.0/8"))
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(TrustedProxies)
    }
}

impl TrustedProxies {
    /// The address of the client, of a request that came from `peer` with these headers.
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer?.ip().to_canonical();
        if self.0.is_empty() || !self.trusts(client) {
            return Some(client);
        }
        let values: Vec<&str> = headers.get_all(FORWARDED_FOR).filter_map(|value| value.to_str().ok()).collect();
        let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
        for hop in hops.take(MOST_HOPS) {
            // What cannot be read was written by the one before, who is the last that is known.
            let Some(address) = address(hop.trim()) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        Some(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: some with the port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let trusted: TrustedProxies = trusted.parse().expect("networks");
        trusted.client(Some(peer.parse().expect("an address")), &headers).expect("an address").to_string()
    }

    #[test]
    fn an_address_is_believed_as_far_as_trusted_proxies_wrote_it() {
        let cases: [(&str, &str, &[&'static str], &str); 12] = [
            ("", "127.0.0.1:1", &["203.0.113.9"], "127.0.0.1"),
            ("10.0.0.0/8", "127.0.0.1:1", &["203.0.113.9"], "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1:1", &[], "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1:1", &["203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", "[::ffff:127.0.0.1]:1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("127.0.0.1", "127.0.0.1:1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1,10.0.0.0/8", "127.0.0.1:1", &["1.1.1.1, 203.0.113.9 ,10.1.2.3"], "203.0.113.9"),
            ("127.0.0.1,10.0.0.0/8", "127.0.0.1:1", &["1.1.1.1", "203.0.113.9", "10.1.2.3"], "203.0.113.9"),
            ("127.0.0.1,10.0.0.0/8", "127.0.0.1:1", &["203.0.113.9, unknown, 10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", "127.0.0.1:1", &["1.1.1.1", ""], "127.0.0.1"),
            ("::1", "[::1]:1", &["[2001:db8::7]"], "2001:db8::7"),
            ("::1", "[::1]:1", &["[2001:db8::7]:443"], "2001:db8::7"),
        ];
        for (trusted, peer, forwarded, expected) in cases {
            assert_eq!(client(trusted, peer, forwarded), expected, "{trusted} {peer} {forwarded:?}");
        }
        let all = vec!["10.0.0.1,"; 40].concat() + "10.0.0.1";
        let all: &'static str = Box::leak(all.into_boxed_str());
        assert_eq!(client("127.0.0.1,10.0.0.0/8", "127.0.0.1:1", &[all]), "10.0.0.1", "so far and no further");
    }

    #[test]
    fn oa_20_a_network_is_what_one_can_send_from() {
        let network = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2::"), network("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["10.0.0.0/33", "example.org", "10.0.0.1;10.0.0.2"] {
            assert!(text.parse::<TrustedProxies>().expect_err(text).contains(text));
        }
        assert_eq!(" , ".parse(), Ok(TrustedProxies::default()));
    }
}
