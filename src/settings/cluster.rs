//! What a node is told of the cluster it belongs to: ports, names and copies. Knows no node but this one.

use super::forms::{parse_host_ports, BindAddress, HostPort};
use super::table::Id;
use super::values::Values;

/// The settings of the group "Cluster" that hold from start to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// For cluster-aware clients, on the addresses of `bind`; 0: none.
    pub cluster_port: u16,
    /// For other nodes; 0 only where the plain port is 0 and nothing else was said.
    pub peer_port: u16,
    pub peer_bind: Vec<BindAddress>,
    /// Empty: an address on which the node listens.
    pub announce_host: String,
    /// 0: the port itself, here and in the two that follow.
    pub announce_port: u16,
    pub announce_cluster_port: u16,
    pub announce_peer_port: u16,
    pub join: Vec<HostPort>,
    /// 0: forms no cluster together with those of `join`.
    pub bootstrap_expect: u16,
    /// Empty: none.
    pub secret: String,
    /// Files in PEM; empty: none.
    pub peer_tls_cert_file: String,
    pub peer_tls_key_file: String,
    pub peer_tls_ca_file: String,
    pub replicas: u8,
    /// Empty: fails alone.
    pub zone: String,
    pub weight: u16,
}

impl ClusterSettings {
    pub(super) fn from_values(values: &Values) -> Self {
        let port = |id| values.number(id) as u16;
        let text = |id| values.string(id).to_string();
        Self {
            cluster_port: port(Id::ClusterPort),
            peer_port: port(Id::PeerPort),
            peer_bind: values.addresses(Id::PeerBind),
            announce_host: text(Id::AnnounceHost),
            announce_port: port(Id::AnnouncePort),
            announce_cluster_port: port(Id::AnnounceClusterPort),
            announce_peer_port: port(Id::AnnouncePeerPort),
            // The table let only such places in.
            join: parse_host_ports(values.string(Id::Join)).unwrap_or_default(),
            bootstrap_expect: port(Id::BootstrapExpect),
            secret: text(Id::ClusterSecret),
            peer_tls_cert_file: text(Id::PeerTlsCertFile),
            peer_tls_key_file: text(Id::PeerTlsKeyFile),
            peer_tls_ca_file: text(Id::PeerTlsCaFile),
            replicas: values.number(Id::Replicas) as u8,
            zone: text(Id::Zone),
            weight: port(Id::Weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Builder, Settings};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let builder = Builder::new().flags(flags.iter().copied());
        builder.expect("settings that hold").build()
    }

    fn refused(name: &str, value: &str) -> String {
        let refused = Builder::new().flags([(name, value)]).err();
        refused.expect("a refusal").to_string()
    }

    #[test]
    fn the_ports_follow_the_plain_one_unless_they_are_given() {
        let ports = |flags: &[(&str, &str)]| {
            let cluster = settings(flags).startup().cluster.clone();
            (cluster.cluster_port, cluster.peer_port)
        };
        assert_eq!(ports(&[]), (7379, 16379));
        assert_eq!(ports(&[("port", "7001")]), (8001, 17001));
        assert_eq!(ports(&[("port", "60000")]), (61_000, 50_000));
        assert_eq!(ports(&[("port", "65535")]), (64_535, 55_535));
        assert_eq!(ports(&[("port", "0")]), (0, 0));
        let given = [("cluster-port", "0"), ("peer-port", "9"), ("port", "7001")];
        assert_eq!(ports(&given), (0, 9));
    }

    #[test]
    fn join_names_hosts_and_ports() {
        let place = |host: &str, port| HostPort {
            host: host.into(),
            port,
        };
        let joined = settings(&[("join", "a.example:16379,[::1]:7, 10.0.0.1:8")]);
        assert_eq!(
            joined.startup().cluster.join,
            [
                place("a.example", 16379),
                place("::1", 7),
                place("10.0.0.1", 8)
            ]
        );
        assert!(settings(&[("join", "")]).startup().cluster.join.is_empty());
        for wrong in ["a", "a:", "a:0", "a:70000", ":7", "::1:7", "[::1]", "a:7x"] {
            let text = refused("join", wrong);
            assert!(text.contains("HOST:PORT"), "{wrong}: {text}");
        }
        assert!(refused("join", &"a:1 ".repeat(65)).contains("at most 64"));
    }

    #[test]
    fn the_environment_names_the_nodes_to_join() {
        let variable = ("RINGFORT_JOIN".to_string(), "a:1 b:2".to_string());
        let settings = Builder::new().environment([variable]).unwrap().build();
        assert_eq!(settings.startup().cluster.join.len(), 2);
    }

    #[test]
    fn the_secret_of_the_cluster_is_never_shown() {
        let sealed = settings(&[("cluster-secret", "hush")]);
        assert_eq!(sealed.startup().cluster.secret, "hush");
        let shown = sealed.get(&["cluster-*"]);
        assert!(shown.contains(&("cluster-secret".into(), "(hidden)".into())));
        assert!(!format!("{shown:?}").contains("hush"));
        assert_eq!(settings(&[]).get(&["cluster-secret"])[0].1, "");
    }

    #[test]
    fn what_clients_parse_holds_no_blanks() {
        assert!(refused("announce-host", "a b").contains("no blanks"));
        assert!(refused("announce-host", &"a".repeat(256)).contains("at most 255"));
        assert!(refused("zone", "a\nb").contains("no blanks"));
    }
}
