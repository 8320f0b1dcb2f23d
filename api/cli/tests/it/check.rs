//! `cluster check`.

use std::fs;
use std::path::{Path, PathBuf};

use cluster::Config;

use crate::process::{output, text};

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/configs").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    files
}

#[test]
fn every_format_becomes_the_native_one() {
    for file in fixtures("valid") {
        let name = file.to_str().expect("fixtures have plain names");
        let output = output(&["check", name]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        let native = Config::parse(&text(&output.stdout), "printed").expect("what is printed can be read");
        assert_eq!(native, Config::from_file(&file).expect("the program could read it"), "{name}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for file in fixtures("invalid") {
        let name = file.to_str().expect("fixtures have plain names");
        let output = output(&["check", name]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert_eq!(text(&output.stdout), "", "{name}");
        assert!(error.starts_with(&format!("error: {name}:")), "{error}");
    }
}

#[test]
fn the_error_shows_the_line() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/configs/invalid/missing-comma-and-quotes.json");
    let error = text(&output(&["check", file.to_str().expect("a plain name")]).stderr);
    assert!(error.contains(":4:10: expected ',' between two servers;"), "{error}");
    assert!(error.contains("\n4 |          {\"Id\":300,"), "{error}");
    assert!(error.ends_with("^\n"), "{error}");
}

#[test]
fn a_pid_has_to_be_in_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/configs/valid/object-mypid-url.json");
    let name = file.to_str().expect("a plain name");
    assert_eq!(output(&["check", name, "--pid", "2"]).status.code(), Some(0));
    let refused = output(&["check", name, "--pid", "3"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("pid 3"), "{}", text(&refused.stderr));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = output(&["check", "/nowhere/config.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: /nowhere/config.json:"), "{}", text(&output.stderr));
}
