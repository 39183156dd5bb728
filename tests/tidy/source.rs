//! The sources as the tidy test sees them: found over their `mod` lines, freed of comments and strings.
//! Knows Rust's lexical rules well enough for this repository, and no more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One source file.
pub struct Source {
    /// From the repository's root.
    pub path: String,
    pub text: String,
    /// The text with comments, strings and characters blanked, line by line as in the file.
    code: String,
    /// Compiled for tests only.
    pub is_test: bool,
}

/// All source files of the workspace.
pub struct Tree {
    pub sources: Vec<Source>,
    /// Files that no `mod` line leads to.
    pub unreachable: Vec<String>,
}

impl Tree {
    pub fn read() -> Self {
        let mut tree = Tree {
            sources: Vec::new(),
            unreachable: Vec::new(),
        };
        for root in ["src/lib.rs", "src/main.rs", "cluster/src/lib.rs"] {
            tree.walk(PathBuf::from(root), false);
        }
        for directory in ["tests", "benches", "cluster/tests", "cluster/benches"] {
            for path in files(Path::new(directory), "rs") {
                let inside = path[directory.len() + 1..].split('/').count();
                // Cargo takes each file of the directory, and main.rs of each directory in it.
                if inside == 1 || (inside == 2 && path.ends_with("/main.rs")) {
                    tree.walk(PathBuf::from(path), true);
                }
            }
        }
        let seen: BTreeSet<&str> = tree.sources.iter().map(|source| &*source.path).collect();
        let directories = ["src", "cluster", "tests", "benches"];
        let all = directories
            .iter()
            .flat_map(|directory| files(Path::new(directory), "rs"));
        tree.unreachable = all.filter(|path| !seen.contains(&**path)).collect();
        tree
    }

    fn walk(&mut self, path: PathBuf, is_test: bool) {
        let text = std::fs::read_to_string(root().join(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let source = Source {
            path: path.display().to_string(),
            code: blank(&text),
            text,
            is_test,
        };
        let children = source.children(&path);
        self.sources.push(source);
        for (child, test_only) in children {
            self.walk(child, is_test || test_only);
        }
    }
}

impl Source {
    /// The room of src/ that it lies in; `None` for the roots and for other directories.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        inside.split_once('/').map(|(room, _)| room)
    }

    /// Lines with their numbers, without those of inline test modules.
    pub fn product_lines(&self) -> Vec<(usize, &str)> {
        let mut lines = Vec::new();
        let mut skip_until_depth = None;
        let mut depth = 0usize;
        let mut test_next = false;
        for (number, line) in self.code.lines().enumerate() {
            let before = depth;
            depth += line.matches('{').count();
            depth = depth.saturating_sub(line.matches('}').count());
            if let Some(end) = skip_until_depth {
                if depth <= end {
                    skip_until_depth = None;
                }
                continue;
            }
            if line.contains("#[cfg(test)]") {
                test_next = true;
            } else if test_next && !line.trim().is_empty() && !line.trim().starts_with("#[") {
                test_next = false;
                if depth > before {
                    skip_until_depth = Some(before);
                }
                continue;
            }
            lines.push((number + 1, line));
        }
        lines
    }

    /// First names of paths from the crate's root, and `cluster` for that crate, with line numbers.
    pub fn rooms_used(&self) -> Vec<(usize, String)> {
        let mut used = Vec::new();
        let lines = self.product_lines();
        for (at, (number, line)) in lines.iter().enumerate() {
            if line.contains("ringfort_cluster") {
                used.push((*number, "cluster".into()));
            }
            for (start, _) in line.match_indices("crate::") {
                let rest = &line[start + "crate::".len()..];
                if rest.starts_with('{') {
                    let group: String = std::iter::once(rest)
                        .chain(lines[at + 1..].iter().map(|(_, line)| *line))
                        .take(60)
                        .collect::<Vec<_>>()
                        .join(" ");
                    used.extend(group_heads(&group).into_iter().map(|head| (*number, head)));
                } else {
                    used.push((*number, identifier(rest)));
                }
            }
        }
        used
    }

    /// The files of its `mod` lines, and whether each is for tests only.
    fn children(&self, path: &Path) -> Vec<(PathBuf, bool)> {
        let directory = path.parent().expect("a file lies in a directory");
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let cargo_root = directory.ends_with("tests") || directory.ends_with("benches");
        let home = match stem {
            "mod" | "lib" | "main" => directory.to_path_buf(),
            _ if cargo_root => directory.to_path_buf(),
            _ => directory.join(stem),
        };
        let mut children = Vec::new();
        let mut test_only = false;
        let mut named_path = None;
        for (line, raw) in self.code.lines().zip(self.text.lines()) {
            let line = line.trim();
            if line.starts_with("#[cfg(test)]") {
                test_only = true;
            }
            if line.starts_with("#[path") {
                named_path = raw.split('"').nth(1).map(|name| directory.join(name));
            }
            if line.is_empty() || line.starts_with("#[") && line.ends_with(']') {
                continue;
            }
            let declaration = line.strip_prefix("#[cfg(test)]").unwrap_or(line).trim();
            let declaration = declaration
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub(super) ");
            let declaration = declaration.trim_start_matches("pub ");
            let name = declaration
                .strip_prefix("mod ")
                .and_then(|rest| rest.strip_suffix(';'));
            if let Some(name) = name {
                let file = named_path
                    .take()
                    .unwrap_or_else(|| home.join(format!("{name}.rs")));
                let file = if root().join(&file).exists() {
                    file
                } else {
                    home.join(name).join("mod.rs")
                };
                children.push((file, test_only));
            }
            test_only = false;
        }
        children
    }
}

/// `{a::b, c::{d}}` uses `a` and `c`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut expect_head = false;
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => {
                depth += 1;
                expect_head = depth == 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            b',' => expect_head = depth == 1,
            byte if byte.is_ascii_alphabetic() && expect_head => {
                heads.push(identifier(&group[at..]));
                expect_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `directory` with this extension, as paths from the repository's root, sorted. Build
/// output and hidden directories are left out.
pub fn files(directory: &Path, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(root().join(directory)) else {
        return found;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = directory.join(&name);
        if entry.path().is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    found
}

/// The text with every comment, string and character literal replaced by blanks; line breaks stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let skipped = if rest.starts_with(b"//") {
            rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if let Some(len) = raw_string(rest, bytes[..at].last().copied()) {
            len
        } else if rest[0] == b'"' {
            string(rest)
        } else if rest[0] == b'\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            out.push(rest[0]);
            at += 1;
        } else {
            let gone = rest[..skipped].iter();
            out.extend(gone.map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at += skipped;
        }
    }
    String::from_utf8(out).expect("whole literals and comments were blanked")
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Length of `r"..."` or `r#"..."#` (also after `b`), when one begins here and not inside a word.
fn raw_string(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if rest[0] != b'r' || before.is_some_and(|byte| word(byte) && byte != b'b') {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    let len = rest[body..]
        .windows(end.len())
        .position(|window| window == end)?;
    Some(body + len + end.len())
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Length of a character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest.get(1) {
        Some(b'\\') => {
            let end = rest.iter().skip(3).position(|&byte| byte == b'\'');
            end.map_or(0, |end| end + 4)
        }
        Some(_) => {
            // One character of up to four bytes, then the closing quote.
            let end = rest.iter().take(6).skip(2).position(|&byte| byte == b'\'');
            match end {
                Some(0) => 3,
                Some(end) if rest[1] >= 0x80 => end + 3,
                _ => 0,
            }
        }
        None => 0,
    }
}
