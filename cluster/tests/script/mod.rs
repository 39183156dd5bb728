//! Plays scripts that anyone can read: below each command stands, indented, what it prints. Knows no command.

/// Every `.txt` file of `directory` goes as it is written: `begin` gives for each a fresh world, which carries out a line and gives
/// what that prints. With REWRITE_SCENARIOS set the files are written anew instead.
pub fn every_file_goes_as_written<World>(directory: &str, begin: impl Fn() -> World)
where
    World: FnMut(&str) -> String,
{
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the scripts")
        .map(|file| file.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("playing {}", path.display());
        let script = std::fs::read_to_string(&path).expect("a readable script");
        let played = play(&script, begin());
        if std::env::var_os("REWRITE_SCENARIOS").is_some() {
            std::fs::write(&path, played).expect("a writable script");
            continue;
        }
        for (number, (expected, found)) in script.lines().zip(played.lines()).enumerate() {
            assert_eq!(found, expected, "{}:{}", path.display(), number + 1);
        }
        assert_eq!(script, played, "{}", path.display());
    }
}

/// Plays a script and gives it back with what the commands printed this time.
fn play(script: &str, mut world: impl FnMut(&str) -> String) -> String {
    let mut played = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        played.push_str(line);
        played.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            played.push_str(&world(line));
        }
    }
    played
}
