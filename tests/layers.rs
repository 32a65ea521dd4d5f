//! Reads the sources and fails on an import that points up, and on a clock or a source of randomness below
//! the shell. `src/lib.rs` and `docs/architecture.md` say what the layers are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which modules make which layer. A module may import its own layer's modules only if it is one of them
/// itself (`cluster` does not know `sync::transport`), and any layer below. `store` is below `cluster`, which
/// keeps the roster in it. `clock` is the one that asks the operating system for the time of day.
const LAYERS: [&[&str]; 9] = [
    &[
        "model", "codec", "config", "clock", "metrics", "secret", "traces", "warnings",
    ],
    &["sync::messages", "sync::engine"],
    &["store"],
    &[
        "cluster",
        "sync::transport",
        "bundle",
        "address_book",
        "logging",
        "access",
    ],
    &["sync::driver", "http"],
    &["node"],
    &["client"],
    &["cli"],
    &["main", "lib"],
];

/// Layers whose modules may know each other: they are one small vocabulary each.
const SHARED: [usize; 4] = [0, 1, 7, 8];

/// What is pure: it is told the time, and handed its randomness.
const PURE: [&str; 18] = [
    "address_book",
    "model",
    "codec",
    "sync::messages",
    "sync::engine",
    "store::kernel",
    "store::layout",
    "store::delta",
    "store::changes",
    "store::whole",
    "store::index",
    "store::census",
    "store::check",
    "store::clock_watch",
    "store::listing",
    "store::within",
    "store::rows",
    "store::state",
];

/// What the pure parts must not touch. `HashMap` is among it because its order is random.
const IMPURE: [&str; 15] = [
    "SystemTime",
    "Instant::now",
    "std::time::Instant",
    "std::fs",
    "std::net",
    "std::thread",
    "tokio",
    "redb",
    "rand::rng",
    "rand::random",
    "SysRng",
    "OsRng",
    "now_v7",
    "new_v4",
    "HashMap",
];

/// A source file: the path of its module and what it says outside comments, texts and tests.
struct Source {
    module: Vec<String>,
    code: String,
}

#[test]
fn no_import_points_up() {
    let sources = sources(Path::new("src"));
    let reexports = reexports(&sources);
    let wrong: Vec<String> = sources
        .iter()
        .flat_map(|source| wrong_imports(source, &reexports))
        .collect();
    assert_eq!(wrong, [""; 0], "see docs/architecture.md");
}

#[test]
fn the_pure_parts_are_told_the_time_and_handed_their_randomness() {
    let mut wrong: Vec<String> = sources(Path::new("src"))
        .iter()
        .filter(|source| PURE.iter().any(|module| is_within(&source.module, module)))
        .flat_map(impurities)
        .collect();
    wrong.extend(sources(Path::new("crdt/src")).iter().flat_map(impurities));
    assert_eq!(wrong, [""; 0], "hand it in");
}

#[test]
fn the_clock_alone_asks_for_the_time_of_day() {
    let asking = sources(Path::new("src"));
    let asking = asking
        .iter()
        .filter(|source| source.code.contains("SystemTime::now"))
        .map(|source| source.module.join("::"));
    assert_eq!(asking.collect::<Vec<_>>(), ["clock"]);
}

#[test]
fn the_client_knows_a_node_by_its_answers_alone() {
    let sources = sources(Path::new("src"));
    let wrong: Vec<String> = sources
        .iter()
        .filter(|source| is_within(&source.module, "client"))
        .flat_map(imports)
        .filter(|path| !["client", "model"].contains(&path[0].as_str()))
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(wrong, [""; 0], "ask over HTTP");
}

#[test]
fn the_crdts_know_nothing_but_serde() {
    let sources = sources(Path::new("crdt/src"));
    let modules: Vec<String> = sources
        .iter()
        .map(|source| source.module.join("::"))
        .collect();
    let known = ["core", "std", "serde", "crate", "super", "self"];
    for source in &sources {
        let mut foreign = roots(&source.code);
        foreign.retain(|root| !known.contains(&root.as_str()) && !modules.contains(root));
        assert_eq!(foreign, [""; 0], "{:?}", source.module);
    }
}

#[test]
fn bites_on_what_it_is_for() {
    let source = |module: &str, code: &str| Source {
        module: module.split("::").map(str::to_owned).collect(),
        code: strip(code),
    };
    let all = [
        source("sync", "pub use messages::{Message, PeerInfo};"),
        source("sync::messages", ""),
    ];
    let reexports = reexports(&all);
    let wrong =
        |module: &str, code: &str| !wrong_imports(&source(module, code), &reexports).is_empty();
    assert!(wrong("model::address", "use crate::store::State;"));
    assert!(wrong(
        "sync::engine::core",
        "use crate::{model::Op, store::{Rows, State}};"
    ));
    assert!(wrong(
        "sync::engine::core",
        "fn f(s: super::super::driver::Handle) {}"
    ));
    assert!(wrong("store::kernel", "use crate::cluster::NodeStatus;"));
    assert!(wrong("store::kernel", "use crate::unheard_of::Thing;"));
    assert!(wrong("http::kv", "let x = crate::node::Node::new();"));
    assert!(!wrong(
        "sync::engine::core",
        "use crate::{model::Op, sync::{Message, engine::View}};"
    ));
    assert!(!wrong(
        "sync::engine::core",
        "use super::{View, peer::Peer};"
    ));
    assert!(!wrong(
        "model",
        "// use crate::store::State;\n#[cfg(test)]\nmod tests { use crate::store::State; }"
    ));
    let impure = |code: &str| !impurities(&source("model", code)).is_empty();
    assert!(impure("let now = std::time::SystemTime::now();"));
    assert!(impure("let id = Uuid::now_v7();"));
    assert!(!impure(
        "/// Unlike `SystemTime`.\nlet text = \"SystemTime\";"
    ));
}

fn sources(root: &Path) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty(), "there are sources in {}", root.display());
    files
        .iter()
        .map(|file| {
            let inner = file.strip_prefix(&root).expect("it was found there");
            let inner = inner.with_extension("");
            let mut module: Vec<String> = inner
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            module.pop_if(|last| last == "mod");
            let code = fs::read_to_string(file).expect("a source can be read");
            Source {
                module,
                code: strip(&code),
            }
        })
        .filter(|source| !source.module.iter().any(|part| part == "tests"))
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code without comments, texts and whatever follows `#[cfg(test)]` in braces.
fn strip(code: &str) -> String {
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line));
    let mut kept = String::new();
    let mut text = false;
    let joined = lines.collect::<Vec<_>>().join("\n");
    let mut characters = joined.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if text => {
                characters.next();
            }
            '\'' if !text && characters.peek() == Some(&'"') => {
                characters.next();
            }
            '"' => text = !text,
            _ if text => {}
            _ => kept.push(character),
        }
    }
    while let Some(start) = kept.find("#[cfg(test)]") {
        let rest = &kept[start..];
        let end = rest.find([';', '{']).map_or(kept.len(), |end| start + end);
        let end = if kept[end..].starts_with('{') {
            end + closing(&kept[end..])
        } else {
            end
        };
        kept.replace_range(start..kept.len().min(end + 1), "");
    }
    kept
}

/// Where the brace that `code` begins with is closed.
fn closing(code: &str) -> usize {
    let mut depth = 0_usize;
    for (index, character) in code.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    code.len()
}

/// What a parent module hands on from its children: (parent, name) -> child.
fn reexports(sources: &[Source]) -> BTreeMap<(String, String), String> {
    let mut reexports = BTreeMap::new();
    for source in sources {
        let parent = source.module.join("::");
        for (_, rest) in words(&source.code).filter(|(word, _)| *word == "use") {
            let tree = rest.split(';').next().unwrap_or(rest);
            for path in expand(tree.trim()) {
                if let [child, name] = path.as_slice() {
                    let key = (parent.clone(), name.clone());
                    reexports.insert(key, format!("{parent}::{child}"));
                }
            }
        }
    }
    reexports
}

/// Every word of the code with what follows it.
fn words(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut rest = code;
    std::iter::from_fn(move || {
        rest = &rest[rest.find(is_word)?..];
        let end = rest.find(|character| !is_word(character));
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some((word, after))
    })
}

/// The paths that a tree of imports names.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    if let Some(inner) = tree.strip_prefix('{') {
        let inner = &inner[..closing(tree).saturating_sub(1)];
        return split(inner).into_iter().flat_map(expand).collect();
    }
    let end = tree
        .find(|character: char| !character.is_alphanumeric() && character != '_')
        .unwrap_or(tree.len());
    let (word, rest) = tree.split_at(end);
    if word.is_empty() {
        return vec![Vec::new()];
    }
    let rest = rest.trim_start();
    let tails = match rest.strip_prefix("::") {
        Some(tail) => expand(tail),
        None => vec![Vec::new()],
    };
    tails
        .into_iter()
        .map(|tail| [vec![word.to_owned()], tail].concat())
        .collect()
}

/// The branches between commas that are in no inner braces.
fn split(tree: &str) -> Vec<&str> {
    let mut branches = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (index, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&tree[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    branches.push(&tree[start..]);
    branches.retain(|branch| !branch.trim().is_empty());
    branches
}

/// What the code imports of this crate, as paths from its root.
fn imports(source: &Source) -> Vec<Vec<String>> {
    let mut imports = Vec::new();
    let mut above = 0;
    for (word, rest) in words(&source.code) {
        let Some(tree) = rest.strip_prefix("::") else {
            above = 0;
            continue;
        };
        match word {
            "crate" => imports.extend(expand(tree)),
            "super" if tree.trim_start().starts_with("super") => above += 1,
            "super" => {
                let depth = source.module.len().saturating_sub(above + 1);
                let parent = source.module[..depth].to_vec();
                above = 0;
                imports.extend(
                    expand(tree)
                        .into_iter()
                        .map(|path| [parent.clone(), path].concat()),
                );
            }
            _ => above = 0,
        }
    }
    imports
}

fn is_within(path: &[String], module: &str) -> bool {
    let module: Vec<&str> = module.split("::").collect();
    path.len() >= module.len() && path.iter().zip(&module).all(|(part, name)| part == name)
}

/// The layer that a path leads into, and the module of it.
fn layer(path: &[String]) -> Option<(usize, &'static str)> {
    LAYERS.iter().enumerate().find_map(|(layer, modules)| {
        let module = modules.iter().find(|module| is_within(path, module))?;
        Some((layer, *module))
    })
}

fn wrong_imports(source: &Source, reexports: &BTreeMap<(String, String), String>) -> Vec<String> {
    let name = source.module.join("::");
    // What only hands on its children belongs to no layer.
    let Some((ours, our_module)) = layer(&source.module) else {
        return if name == "sync" {
            Vec::new()
        } else {
            vec![format!("{name} is in no layer")]
        };
    };
    let mut wrong = Vec::new();
    for path in imports(source) {
        let resolved = match path.as_slice() {
            [parent, item, ..] => reexports
                .get(&(parent.clone(), item.clone()))
                .filter(|_| layer(&path).is_none())
                .map(|child| child.split("::").map(str::to_owned).collect()),
            _ => None,
        };
        let path: Vec<String> = resolved.unwrap_or(path);
        match layer(&path) {
            None => wrong.push(format!(
                "{name} imports {}, which is in no layer",
                path.join("::")
            )),
            Some((theirs, their_module)) => {
                let aside = theirs == ours && their_module != our_module && !SHARED.contains(&ours);
                if theirs > ours || aside {
                    wrong.push(format!("{name} imports {}", path.join("::")));
                }
            }
        }
    }
    wrong
}

fn impurities(source: &Source) -> Vec<String> {
    let name = source.module.join("::");
    let found = IMPURE.iter().filter(|impure| {
        source.code.match_indices(**impure).any(|(index, _)| {
            let before = source.code[..index].chars().next_back();
            let after = source.code[index + impure.len()..].chars().next();
            let part = |character: Option<char>| {
                character.is_some_and(|character| character.is_alphanumeric() || character == '_')
            };
            !part(before) && !part(after)
        })
    });
    found.map(|impure| format!("{name} has {impure}")).collect()
}

/// The first segments of everything imported with `use`.
fn roots(code: &str) -> Vec<String> {
    words(code)
        .filter(|(word, rest)| *word == "use" && rest.starts_with(' '))
        .flat_map(|(_, rest)| expand(rest.split(';').next().unwrap_or(rest)))
        .filter(|path| path.len() > 1)
        .map(|path| path[0].clone())
        .collect()
}
