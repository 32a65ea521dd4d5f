//! Wrong settings must never start a node, and the message must be enough to set them right.

mod support;

use std::{ffi::OsString, fs, path::Path};

use grapevine::config::{Allowed, ConfigError, Layers, MAX_PROXIES, NodeConfig, SETTINGS, Setting};
use support::program::{complaint, grapevine, run};

/// A way to get a setting wrong, and what the message must hold.
struct Wrong {
    args: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    file: Option<&'static str>,
    message: &'static [&'static str],
}

const FINE: Wrong = Wrong {
    args: &[],
    variables: &[],
    file: None,
    message: &[],
};

const WRONG: &[Wrong] = &[
    Wrong {
        args: &["--name", "two words"],
        message: &["`name`", "`two words`", "--name", "1 to 63 characters"],
        ..FINE
    },
    Wrong {
        args: &["--name", ""],
        message: &["`name`", "``", "1 to 63"],
        ..FINE
    },
    Wrong {
        args: &["--http", "localhost"],
        message: &[
            "`http`",
            "`localhost`",
            "--http",
            "an IP address and a port",
        ],
        ..FINE
    },
    Wrong {
        args: &["--peer", "127.0.0.1:65536"],
        message: &["`peer`", "`127.0.0.1:65536`", "0 to 65535"],
        ..FINE
    },
    Wrong {
        args: &["--http", "127.0.0.1:9", "--peer", "127.0.0.1:9"],
        message: &["`http`", "`peer`", "127.0.0.1:9"],
        ..FINE
    },
    Wrong {
        args: &["--seed", "one.example:7901", "--seed", "two.example"],
        message: &["`seeds`", "`two.example`", "--seed", "host:port"],
        ..FINE
    },
    Wrong {
        args: &["--seed", "one.example:0"],
        message: &["`seeds`", "`one.example:0`", "1 to 65535"],
        ..FINE
    },
    Wrong {
        args: &["--seed", "[::zz]:7901"],
        message: &["`seeds`", "`[::zz]:7901`"],
        ..FINE
    },
    Wrong {
        args: &["--cache-mib", "7"],
        message: &["`cache_mib`", "`7`", "--cache-mib", "8 to 65536 MiB"],
        ..FINE
    },
    Wrong {
        args: &["--cache-mib=-1"],
        message: &["`cache_mib`", "`-1`", "8 to 65536 MiB"],
        ..FINE
    },
    Wrong {
        args: &["--pull-interval-ms", "99999999999999999999"],
        message: &[
            "`pull_interval_ms`",
            "`99999999999999999999`",
            "50 to 60000",
        ],
        ..FINE
    },
    Wrong {
        args: &["--advertise-peer", "0.0.0.0:7901"],
        message: &["`advertise_peer`", "`0.0.0.0:7901`", "not 0.0.0.0 or [::]"],
        ..FINE
    },
    Wrong {
        args: &["--advertise-http", "db.example:7801"],
        message: &[
            "`advertise_http`",
            "`db.example:7801`",
            "--advertise-http",
            "an IP address",
        ],
        ..FINE
    },
    Wrong {
        variables: &[("GRAPEVINE_COMPACT_AT_START", "yes")],
        message: &["`compact_at_start`", "`yes`", "true or false"],
        ..FINE
    },
    Wrong {
        file: Some("compact_at_start = \"true\""),
        message: &["`compact_at_start`", "`true`", "without quotes"],
        ..FINE
    },
    Wrong {
        args: &["--log-format", "xml"],
        message: &["`log_format`", "`xml`", "human or json"],
        ..FINE
    },
    Wrong {
        args: &["--log-level", "loud"],
        message: &["`log_level`", "`loud`", "off, error, warn"],
        ..FINE
    },
    Wrong {
        variables: &[("GRAPEVINE_GOSSIP_INTERVAL_MS", "fast")],
        message: &[
            "`gossip_interval_ms`",
            "`fast`",
            "GRAPEVINE_GOSSIP_INTERVAL_MS",
            "50 to 60000 milliseconds",
        ],
        ..FINE
    },
    Wrong {
        variables: &[("GRAPEVINE_GOSIP_INTERVAL_MS", "200")],
        message: &[
            "`GRAPEVINE_GOSIP_INTERVAL_MS`",
            "`200`",
            "environment",
            "GRAPEVINE_GOSSIP_INTERVAL_MS",
        ],
        ..FINE
    },
    Wrong {
        variables: &[("GRAPEVINE_name", "node")],
        message: &["`GRAPEVINE_name`", "GRAPEVINE_NAME"],
        ..FINE
    },
    Wrong {
        file: Some("gossip_interval = 200"),
        message: &[
            "`gossip_interval`",
            "`200`",
            "settings.toml",
            "gossip_interval_ms",
        ],
        ..FINE
    },
    Wrong {
        file: Some("max_body_bytes = 1"),
        message: &[
            "`max_body_bytes`",
            "`1`",
            "settings.toml",
            "1024 to 67108864 bytes",
        ],
        ..FINE
    },
    Wrong {
        file: Some("max_body_bytes = \"4096\""),
        message: &["`max_body_bytes`", "`4096`", "a whole number"],
        ..FINE
    },
    Wrong {
        file: Some("seeds = \"one.example:7901\""),
        message: &["`seeds`", "`one.example:7901`", "a list of strings"],
        ..FINE
    },
    Wrong {
        file: Some("name = 7"),
        message: &["`name`", "`7`", "a string"],
        ..FINE
    },
    Wrong {
        file: Some("\n\ncache_mib = = 8"),
        message: &["settings.toml", "line 3"],
        ..FINE
    },
    Wrong {
        file: Some("cache_mib = 8\ncache_mib = 9"),
        message: &["settings.toml", "line 2", "duplicate key"],
        ..FINE
    },
    Wrong {
        args: &["--config", "/nowhere/settings.toml"],
        message: &["cannot read the settings file /nowhere/settings.toml"],
        ..FINE
    },
];

#[test]
fn a_wrong_setting_is_named_with_what_is_allowed_before_anything_is_opened() {
    for wrong in WRONG {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let data = directory.path().join("data");
        let mut command = grapevine();
        command.arg("serve");
        if !wrong.args.contains(&"--name") && wrong.file != Some("name = 7") {
            command.args(["--name", "node"]);
        }
        command.arg("--data").arg(&data).args(wrong.args);
        command.envs(wrong.variables.iter().copied());
        if let Some(text) = wrong.file {
            command.arg("--config").arg(file(directory.path(), text));
        }
        let output = run(&mut command);
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in wrong.message {
            assert!(said.contains(part), "no {part:?} in {said:?}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
        assert!(!data.exists(), "the data directory was made: {said}");
    }
}

#[test]
fn a_missing_name_is_asked_for_in_every_way_it_can_be_given() {
    let output = run(grapevine().arg("serve"));
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(2));
    for part in ["`name`", "--name", "GRAPEVINE_NAME", "settings file"] {
        assert!(said.contains(part), "no {part:?} in {said:?}");
    }
}

#[test]
fn dev_refuses_settings_that_would_make_all_its_nodes_one() {
    for (name, value) in [("GRAPEVINE_NAME", "x"), ("GRAPEVINE_HTTP", "127.0.0.1:1")] {
        let output = run(grapevine().arg("dev").env(name, value));
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in [name, value, "dev"] {
            assert!(said.contains(part), "no {part:?} in {said:?}");
        }
    }
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = file(
        directory.path(),
        "name = \"file\"\ndata = \"file\"\ncompact_at_start = true\nadvertise_peer = \"192.0.2.7:0\"\ncache_mib = 10\npull_interval_ms = 110\nseeds = [\"file:1\"]",
    );
    let environment = [
        ("GRAPEVINE_CACHE_MIB", "20"),
        ("GRAPEVINE_DATA", "environment"),
        ("GRAPEVINE_SEEDS", "one:1, two:2"),
        ("HOME", "/"),
    ];
    let mut layers = Layers::read(Some(&file), variables(&environment)).expect("all are known");
    layers.flag(setting("data"), vec!["flag".to_owned()]);
    let config = layers.node().expect("all are allowed");
    assert_eq!(config.name, "file");
    assert_eq!(config.data, Path::new("flag"));
    assert_eq!(config.cache_mib, 20);
    assert!(config.compact_at_start);
    assert_eq!(config.advertise_peer, "192.0.2.7:0".parse().ok());
    assert_eq!(config.advertise_http, None);
    assert_eq!(config.pull_interval_ms, 110);
    assert_eq!(config.seeds, ["one:1", "two:2"]);
    assert_eq!(config.gossip_interval_ms, 200);
    assert_eq!(config.http, "127.0.0.1:7801".parse().expect("an address"));
}

#[test]
fn the_environment_may_name_the_settings_file_and_a_flag_another() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = file(directory.path(), "name = \"file\"\ndata = \"file\"");
    let variable = [("GRAPEVINE_CONFIG", file.to_str().expect("it is UTF-8"))];
    let layers = Layers::read(None, variables(&variable)).expect("it can be read");
    assert_eq!(layers.node().expect("all are allowed").name, "file");
    let elsewhere = [("GRAPEVINE_CONFIG", "/nowhere")];
    Layers::read(Some(&file), variables(&elsewhere)).expect("the flag wins");
}

#[test]
fn every_setting_can_be_given_in_every_layer() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    for setting in SETTINGS {
        let value = good_value(setting);
        let written = match setting.allowed {
            Allowed::Number(_) | Allowed::Switch(_) => value.clone(),
            Allowed::Seeds | Allowed::Origins | Allowed::Networks => format!("[\"{value}\"]"),
            _ => format!("\"{value}\""),
        };
        let file = file(directory.path(), &format!("{} = {written}", setting.key));
        let from_file = Layers::read(Some(&file), []).expect("the file may hold it");
        let variable = (setting.variable().into(), value.clone().into());
        let from_variable = Layers::read(None, [variable]).expect("a variable may hold it");
        let mut from_flag = Layers::default();
        from_flag.flag(setting, vec![value.clone()]);
        for layers in [from_file, from_variable, from_flag] {
            assert_eq!(layers.text(setting.key), Some(value.as_str()));
        }
        let help = run(grapevine().args(["serve", "--help"]));
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.contains(&format!("--{} ", setting.flag)));
        assert!(help.contains(&setting.variable()));
    }
}

#[test]
fn every_number_is_allowed_at_its_bounds_and_refused_beyond() {
    let good = NodeConfig::new(
        "node",
        "data".into(),
        "127.0.0.1:1".parse().expect("an address"),
        "127.0.0.1:2".parse().expect("an address"),
    );
    good.validate().expect("the defaults are allowed");
    for setting in SETTINGS {
        let Allowed::Number(number) = setting.allowed else {
            continue;
        };
        assert_eq!((number.get)(&good), number.default, "{}", setting.key);
        let with = |value| {
            let mut config = good.clone();
            (number.set)(&mut config, value);
            assert_eq!((number.get)(&config), value, "{}", setting.key);
            config.validate()
        };
        with(number.min).expect("the least is allowed");
        with(number.max).expect("the greatest is allowed");
        let beyond = [number.min.checked_sub(1), number.max.checked_add(1)];
        for beyond in beyond.into_iter().flatten() {
            match with(beyond).expect_err("beyond is not allowed") {
                ConfigError::NotAllowed { key, value, .. } => {
                    assert_eq!((key, value), (setting.key, beyond.to_string()));
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn web_pages_are_let_in_by_their_origins_alone() {
    let with = |origins: &str| {
        let mut layers = Layers::default();
        for (key, value) in [("name", "a"), ("data", "d"), ("cors_origins", origins)] {
            layers.flag(setting(key), vec![value.to_owned()]);
        }
        layers.node()
    };
    let let_in = with("https://a.example, http://localhost:8080").expect("both are origins");
    assert_eq!(
        let_in.cors_origins,
        ["https://a.example", "http://localhost:8080"]
    );
    assert_eq!(with("*").expect("all").cors_origins, ["*"]);
    for bad in [
        "example.org",
        "https://a/",
        "https://",
        "https://A",
        "null",
        "://a",
    ] {
        let error = with(bad).expect_err("it is no origin");
        assert!(error.to_string().contains("cors_origins"), "{error}");
    }
}

#[test]
fn a_network_that_is_none_or_is_everybody_is_trusted() {
    let with = |proxies: &str| {
        let mut layers = Layers::default();
        for (key, value) in [("name", "a"), ("data", "d"), ("trusted_proxies", proxies)] {
            layers.flag(setting(key), vec![value.to_owned()]);
        }
        layers.node()
    };
    let trusted = with("10.0.0.7, 10.1.0.0/16,fd00::/8").expect("all are networks");
    let texts: Vec<String> = trusted
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(texts, ["10.0.0.7/32", "10.1.0.0/16", "fd00::/8"]);
    for bad in [
        "proxy.example",
        "10.0.0.0/33",
        "10.0.0.1:80",
        "0.0.0.0/0",
        "::/0",
    ] {
        let error = with(bad).expect_err("it is nobody, or everybody");
        let error = error.to_string();
        assert!(
            error.contains("trusted_proxies") && error.contains(bad),
            "{error}"
        );
    }
    let many = vec!["10.0.0.7"; MAX_PROXIES + 1].join(",");
    with(&many).expect_err("they are too many");
}

fn setting(key: &str) -> &'static Setting {
    Setting::find(key).expect("there is such a setting")
}

fn good_value(setting: &Setting) -> String {
    match setting.allowed {
        Allowed::Name => "name".to_owned(),
        Allowed::Path | Allowed::File => "path".to_owned(),
        Allowed::Address | Allowed::Reachable => "[::1]:0".to_owned(),
        Allowed::Switch(_) => "true".to_owned(),
        Allowed::Seeds => "db.example:7901".to_owned(),
        Allowed::Origins => "https://example.org".to_owned(),
        Allowed::Networks => "10.0.0.0/8".to_owned(),
        Allowed::Number(number) => number.max.to_string(),
        Allowed::Word(words) => words[0].to_owned(),
        Allowed::Filter => "info,grapevine=debug".to_owned(),
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn file(directory: &Path, text: &str) -> std::path::PathBuf {
    let path = directory.join("settings.toml");
    fs::write(&path, text).expect("a file can be written");
    path
}
