//! nginx, with the settings that `deploy/nginx` ships: only addresses and ports are put in.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{client::NodeClient, process::NodeProcess, wait::until};

const SHIPPED: &str = include_str!("../../deploy/nginx/grapevine.conf");
/// The names of the nodes in the settings that are shipped.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// An nginx that runs. Killed when dropped.
pub(crate) struct Nginx {
    master: Child,
    url: String,
}

impl Nginx {
    /// Starts it in front of `nodes`, with its files in `directory`, and waits until it answers.
    pub(crate) async fn start(directory: &Path, nodes: &[NodeProcess]) -> Self {
        let port = free_port();
        let mut server = SHIPPED.replace("listen 8080;", &format!("listen 127.0.0.1:{port};"));
        assert_eq!(nodes.len(), NAMES.len());
        for (name, node) in NAMES.iter().zip(nodes) {
            let address = node.url().replace("http://", "");
            let shipped = format!("server {name}:7801 ");
            assert!(server.contains(&shipped), "the settings name {name}");
            server = server.replace(&shipped, &format!("server {address} "));
        }
        fs::create_dir_all(directory.join("temporary")).expect("the test's directory can be made");
        fs::write(directory.join("grapevine.conf"), server).expect("a file can be written");
        let main = directory.join("nginx.conf");
        fs::write(&main, around(directory)).expect("a file can be written");
        let master = Command::new("nginx")
            .arg("-p")
            .arg(directory)
            .arg("-e")
            .arg(directory.join("error.log"))
            .arg("-c")
            .arg(main)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed (Debian: nginx-light)");
        let url = format!("http://127.0.0.1:{port}");
        let client = NodeClient::new(url.clone());
        until("answer through nginx", async || {
            client.send(reqwest::Method::GET, "/ping", None).await
        })
        .await;
        Self { master, url }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, the master would leave its workers behind.
        crate::support::program::signal(self.master.id(), "TERM");
        let _ended = self.master.wait();
    }
}

/// What stands around the settings that are shipped.
fn around(directory: &Path) -> String {
    let temporary = directory.join("temporary");
    let path = |kind: &str| format!("    {kind}_temp_path {};\n", temporary.join(kind).display());
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(path)
        .concat();
    format!(
        "daemon off;\nworker_processes 2;\npid {pid};\nevents {{ worker_connections 1024; }}\n\
         http {{\n    access_log off;\n{paths}    include {server};\n}}\n",
        pid = directory.join("nginx.pid").display(),
        server = directory.join("grapevine.conf").display(),
    )
}

/// nginx cannot be asked which port it took, so it is told one that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
