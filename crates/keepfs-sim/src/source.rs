//! One Rust file, read just far enough to be judged: what is code, what is comment, where functions end.
//!
//! Relies on rustfmt: a function's closing brace stands at the indentation of its first line. It is no
//! parser, and never rejects a file.

/// A Rust file as text, and the same text with comments and literals blanked out.
pub struct Source {
    text: String,
    /// As long as `text`, byte for byte; everything that is not code is a space.
    code: String,
}

/// A function and where it stands.
pub struct Function {
    /// Its name.
    pub name: String,
    /// The first line, counted from one.
    pub line: usize,
    /// How many lines, signature and braces included.
    pub lines: usize,
    /// Parameters without `self`.
    pub parameters: usize,
}

/// A module that lies in a file of its own.
pub(crate) struct Module {
    pub(crate) name: String,
    /// Where a `#[path]` attribute says it lies, beside the file that declares it.
    pub(crate) path: Option<String>,
    pub(crate) is_test: bool,
}

impl Source {
    /// Reads `text` for structure.
    pub fn new(text: String) -> Self {
        let code = blank(&text);
        Source { text, code }
    }

    /// The text as it is.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text before its inline test module.
    pub fn production_text(&self) -> &str {
        &self.text[..self.production_len()]
    }

    /// The same without comments and literals.
    pub fn production_code(&self) -> &str {
        &self.code[..self.production_len()]
    }

    /// Without comments and literals, tests included.
    pub fn code(&self) -> &str {
        &self.code
    }

    fn production_len(&self) -> usize {
        let mut start = 0;
        let mut test_at: Option<usize> = None;
        for line in self.code.split_inclusive('\n') {
            let trimmed = line.trim();
            if trimmed == "#[cfg(test)]" {
                test_at = Some(start);
            } else if let Some(at) = test_at
                && !trimmed.starts_with('#')
                && !trimmed.is_empty()
            {
                if is_module(trimmed) && trimmed.ends_with('{') {
                    return at;
                }
                test_at = None;
            }
            start += line.len();
        }
        self.text.len()
    }

    /// Modules declared with a semicolon, hence in files of their own.
    pub(crate) fn modules(&self) -> Vec<Module> {
        let mut modules = Vec::new();
        let mut is_test = false;
        let mut path = None;
        for (line, text) in self.code.lines().zip(self.text.lines()) {
            let trimmed = line.trim();
            if trimmed.starts_with("#[") {
                is_test |= trimmed.starts_with("#[cfg(test)]");
            }
            if trimmed.starts_with("#[path") {
                path = text.split('"').nth(1).map(str::to_owned);
            }
            let item = without_attributes(trimmed);
            let item = item.split_once("mod ").filter(|(before, _)| {
                before.is_empty() || (before.starts_with("pub") && before.ends_with(' '))
            });
            if let Some((_, rest)) = item
                && let Some(name) = rest.strip_suffix(';')
            {
                modules.push(Module { name: name.trim().to_owned(), path: path.take(), is_test });
            }
            if !trimmed.is_empty() && !trimmed.starts_with("#[") {
                is_test = false;
                path = None;
            }
        }
        modules
    }

    /// Every function with a body, in order.
    pub fn functions(&self) -> Vec<Function> {
        let lines: Vec<&str> = self.code.lines().collect();
        let mut functions = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let indent = line.len() - line.trim_start().len();
            let Some(last) = last_line(&lines, index, indent) else { continue };
            let parameters = parameter_count(&lines[index..=last].join("\n"));
            functions.push(Function { name, line: index + 1, lines: last - index + 1, parameters });
        }
        functions
    }
}

fn is_module(line: &str) -> bool {
    line.starts_with("mod ") || (line.starts_with("pub") && line.contains(" mod "))
}

fn without_attributes(line: &str) -> &str {
    let mut rest = line;
    while rest.starts_with("#[") {
        match rest.split_once(']') {
            Some((_, after)) => rest = after.trim_start(),
            None => return rest,
        }
    }
    rest
}

/// The name of the function whose signature begins on this line.
fn function_name(line: &str) -> Option<String> {
    let mut rest = without_attributes(line.trim_start());
    loop {
        if let Some(after) = rest.strip_prefix("fn ") {
            let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            return (!name.is_empty()).then_some(name);
        }
        let (word, after) = rest.split_once(' ')?;
        let is_modifier = matches!(word, "const" | "async" | "unsafe" | "extern" | "default" | "\"C\"")
            || word.starts_with("pub");
        if !is_modifier {
            return None;
        }
        rest = after.trim_start();
    }
}

/// Index of the line that closes the function which begins at `first`; `None` if it has no body.
fn last_line(lines: &[&str], first: usize, indent: usize) -> Option<usize> {
    for (index, line) in lines.iter().enumerate().skip(first) {
        let trimmed = line.trim_end();
        let depth = trimmed.len() - trimmed.trim_start().len();
        if index == first {
            if trimmed.ends_with(';') && !trimmed.contains('{') {
                return None;
            }
            if trimmed.ends_with('}') {
                return Some(index);
            }
        } else if depth == indent && trimmed.trim_start().starts_with(')') && trimmed.ends_with(';') {
            return None;
        } else if depth == indent && trimmed.trim_start().starts_with('}') {
            return Some(index);
        }
    }
    None
}

/// Counts the parameters in the first parentheses after the name, `self` excepted.
fn parameter_count(function: &str) -> usize {
    let Some(open) = first_parenthesis(function) else { return 0 };
    let mut depth = 0_usize;
    let mut part = String::new();
    let mut parts = Vec::new();
    let mut before = ' ';
    for c in function[open + 1..].chars() {
        match c {
            ')' if depth == 0 => break,
            '(' | '[' | '<' | '{' => depth += 1,
            '>' if before == '-' => {}
            ')' | ']' | '>' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                before = c;
                continue;
            }
            _ => {}
        }
        part.push(c);
        before = c;
    }
    parts.push(part);
    let is_receiver = |part: &str| {
        let name = part.split(':').next().unwrap_or("").trim();
        name == "self" || name.ends_with(" self") || name.ends_with("&self")
    };
    parts.iter().filter(|part| !part.trim().is_empty() && !is_receiver(part)).count()
}

/// Where the parameters begin: the first parenthesis outside the generic parameters.
fn first_parenthesis(function: &str) -> Option<usize> {
    let name = function.find("fn ")?;
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in function[name..].char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            '(' if depth == 0 => return Some(name + at),
            _ => {}
        }
        before = c;
    }
    None
}

/// Replaces comments and the inside of literals with spaces; line ends and lengths stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if is_raw_string(bytes, at) => raw_string_end(bytes, at),
            b'\'' => char_end(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        let is_comment = bytes[at] == b'/';
        let (first, last) = if is_comment { (at, end) } else { (at + 1, end - 1) };
        for byte in out.iter_mut().take(last).skip(first) {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_raw_string(bytes: &[u8], at: usize) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if at > 0 && is_word(bytes[at - 1]) && bytes[at - 1] != b'b' {
        return false;
    }
    let rest = &bytes[at + 1..];
    let hashes = rest.iter().take_while(|b| **b == b'#').count();
    rest.get(hashes) == Some(&b'"')
}

fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..].iter().take_while(|b| **b == b'#').count();
    let mut at = start + hashes + 2;
    while at < bytes.len() {
        if bytes[at] == b'"' && bytes[at + 1..].iter().take(hashes).filter(|b| **b == b'#').count() == hashes
        {
            return at + 1 + hashes;
        }
        at += 1;
    }
    bytes.len()
}

/// Where the character literal at `at` ends; `at` itself if this quote begins a lifetime.
fn char_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().take(12).position(|b| *b == b'\'');
        return close.map_or(at, |n| at + 3 + n + 1);
    }
    // A character has at most four bytes.
    (at + 2..=at + 5)
        .find(|end| bytes.get(*end) == Some(&b'\''))
        .filter(|end| is_one_char(bytes, at, *end))
        .map_or(at, |end| end + 1)
}

fn is_one_char(bytes: &[u8], open: usize, close: usize) -> bool {
    std::str::from_utf8(&bytes[open + 1..close]).is_ok_and(|inside| inside.chars().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let source =
            Source::new("let a = \"panic!()\"; // todo!\nlet b = 'x'; /* dbg! */ f::<'a>();\n".into());
        assert!(!source.code().contains("panic"));
        assert!(!source.code().contains("todo"));
        assert!(!source.code().contains("dbg"));
        assert!(source.code().contains("f::<'a>();"));
        assert_eq!(source.code().len(), source.text().len());
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        let source = Source::new("let a = r#\"quote \" inside\"#; after();".into());
        assert!(source.code().contains("after()"));
        assert!(!source.code().contains("inside"));
    }

    #[test]
    fn functions_are_measured_with_their_signature() {
        let text = "impl A {\n    pub(crate) fn long<F: Fn(u8) -> u8>(\n        &self,\n        a: Vec<(u8, u8)>,\n        f: F,\n    ) {\n        a;\n    }\n\n    fn one(self) {}\n    fn none(&self);\n}\n";
        let functions = Source::new(text.into()).functions();
        assert_eq!(functions.len(), 2);
        assert_eq!((functions[0].lines, functions[0].parameters, functions[0].line), (7, 2, 2));
        assert_eq!((functions[1].lines, functions[1].parameters), (1, 0));
    }

    #[test]
    fn production_ends_at_the_test_module_only() {
        let text = "#[cfg(test)]\nuse a::b;\nfn x() {}\n#[cfg(test)]\nmod tests {\n    fn y() {}\n}\n";
        let source = Source::new(text.into());
        assert!(source.production_text().ends_with("fn x() {}\n"));
    }

    #[test]
    fn modules_under_cfg_test_are_tests() {
        let source = Source::new("pub mod a;\n#[cfg(test)]\nmod b;\nmod c { }\npub(crate) mod d;\n".into());
        let found: Vec<(String, bool)> = source.modules().into_iter().map(|m| (m.name, m.is_test)).collect();
        assert_eq!(found, [("a".into(), false), ("b".into(), true), ("d".into(), false)]);
    }
}
