//! A settings file.

use std::fs;

use grapevine::config::Layers;

pub(super) fn run(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("it can be written");
    let Ok(layers) = Layers::read(Some(file.path()), []) else {
        return;
    };
    if let Ok(config) = layers.node() {
        config.validate().expect("it was checked");
    }
}
