//! The first bytes of a connection, of one that was accepted and of one that was dialled, with a cluster secret and
//! without; and what comes behind them.

use grapevine::{
    secret::{Keyring, Secret, Secrets},
    sync::transport::{Connection, Role, admit},
};
use tokio::io::AsyncReadExt as _;

pub(super) fn run(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let secrets = Secrets::new(vec![Secret::from_bytes([7; 32])]).expect("one");
    for secrets in [secrets, Secrets::default()] {
        let (keyring, _keys) = Keyring::new(&secrets, "grapevine");
        for role in [Role::Accepted, Role::Dialled { attempt: 0 }] {
            let connection = Connection {
                reading: Box::new(std::io::Cursor::new(bytes.to_vec())),
                writing: Box::new(tokio::io::sink()),
                remote: "fuzz".to_owned(),
            };
            runtime.block_on(async {
                let admitted = admit(connection, role, &keyring, "grapevine").await;
                if let Ok(mut admitted) = admitted {
                    let mut rest = Vec::new();
                    let _garbage = admitted.connection.reading.read_to_end(&mut rest).await;
                    assert!(rest.len() <= bytes.len(), "it reads more than came");
                }
            });
        }
    }
}
