//! The part of YAML in which kubectl prints objects, read in one pass over the lines. A dump of 100 MB spends most of its time in
//! a YAML parser otherwise. Whatever could mean anything else is left to the library: comments, anchors, tags, flow style, text
//! over several lines, scalars whose type is open to doubt.

use serde_json::{Map, Number, Value};

/// The value of a text, or `None` if it is not laid out in the plain way. Never another value than a YAML parser's.
pub fn read(text: &str, deepest: usize) -> Option<Value> {
    let mut lines = Vec::new();
    for raw in text.lines() {
        let content = raw.trim_start_matches(' ');
        if content.is_empty() || content.starts_with('#') || raw.ends_with(' ') || raw.contains(['\t', '\r']) {
            return None;
        }
        lines.push(Line { indent: raw.len() - content.len(), content });
    }
    let mut reader = Reader { lines, at: 0, deepest };
    let indent = reader.lines.first()?.indent;
    let value = reader.node(indent, 0)?;
    (reader.at == reader.lines.len()).then_some(value)
}

#[derive(Clone, Copy)]
struct Line<'a> {
    indent: usize,
    content: &'a str,
}

impl Line<'_> {
    fn is_item(&self) -> bool {
        self.content == "-" || self.content.starts_with("- ")
    }
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
    deepest: usize,
}

impl<'a> Reader<'a> {
    fn here(&self) -> Option<Line<'a>> {
        self.lines.get(self.at).copied()
    }

    fn node(&mut self, indent: usize, depth: usize) -> Option<Value> {
        if depth >= self.deepest {
            return None;
        }
        if self.here()?.is_item() { self.sequence(indent, depth) } else { self.mapping(indent, depth) }
    }

    fn sequence(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.here().filter(|line| line.indent == indent && line.is_item()) {
            let rest = line.content.get(2..)?;
            if rest.starts_with(' ') {
                return None;
            }
            let inner = Line { indent: indent + 2, content: rest };
            if inner.is_item() || split_key(rest).is_some() {
                self.lines[self.at] = inner;
                items.push(self.node(indent + 2, depth + 1)?);
            } else {
                self.at += 1;
                items.push(self.scalar(rest, indent)?);
            }
        }
        Some(Value::Array(items))
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        while let Some(line) = self.here().filter(|line| line.indent == indent && !line.is_item()) {
            let (key, text) = split_key(line.content)?;
            self.at += 1;
            let value = if text.is_empty() {
                match self.here() {
                    Some(next) if next.indent > indent => self.node(next.indent, depth + 1)?,
                    Some(next) if next.indent == indent && next.is_item() => self.sequence(indent, depth + 1)?,
                    Some(_) | None => Value::Null,
                }
            } else {
                self.scalar(text, indent)?
            };
            if map.insert(key.to_owned(), value).is_some() {
                return None;
            }
        }
        Some(Value::Object(map))
    }

    /// What stands behind a key or a dash. A deeper line after it would belong to it.
    fn scalar(&mut self, text: &str, indent: usize) -> Option<Value> {
        match text {
            "|" => return self.block(indent, "\n"),
            "|-" => return self.block(indent, ""),
            _ => {}
        }
        if self.here().is_some_and(|next| next.indent > indent) {
            return None;
        }
        match text.as_bytes()[0] {
            b'"' => double_quoted(text),
            b'\'' => single_quoted(text),
            _ if text == "{}" => Some(Value::Object(Map::new())),
            _ if text == "[]" => Some(Value::Array(Vec::new())),
            _ => plain(text),
        }
    }

    /// The lines of a literal text, which ends with `end`.
    fn block(&mut self, indent: usize, end: &str) -> Option<Value> {
        let inner = self.here().filter(|line| line.indent > indent)?.indent;
        let mut lines = Vec::new();
        while let Some(line) = self.here().filter(|line| line.indent >= inner) {
            lines.push(format!("{}{}", " ".repeat(line.indent - inner), line.content));
            self.at += 1;
        }
        Some(Value::String(lines.join("\n") + end))
    }
}

/// `key: text`, or `key:` with an empty text. Keys that are not plain words are left to the library.
fn split_key(content: &str) -> Option<(&str, &str)> {
    let (key, text) = match content.split_once(": ") {
        Some((key, text)) => (key, text.trim_start_matches(' ')),
        None => (content.strip_suffix(':')?, ""),
    };
    let first = key.bytes().next()?;
    let plain_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-' | b'_' | b':');
    let is_name = first.is_ascii_alphabetic() && key.bytes().all(plain_word) && !key.ends_with(':');
    (is_name && matches!(plain(key), Some(Value::String(_)))).then_some((key, text))
}

fn double_quoted(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('"')?.strip_suffix('"').filter(|_| text.len() > 1)?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        out.push(match char {
            '"' => return None,
            '\\' => match chars.next()? {
                '"' => '"',
                '\\' => '\\',
                'n' => '\n',
                _ => return None,
            },
            other => other,
        });
    }
    Some(Value::String(out))
}

fn single_quoted(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'').filter(|_| text.len() > 1)?;
    if inner.replace("''", "").contains('\'') {
        return None;
    }
    Some(Value::String(inner.replace("''", "'")))
}

fn plain(text: &str) -> Option<Value> {
    let first = text.chars().next()?;
    if text.contains(": ") || text.contains(" #") || text.ends_with(':') || text.chars().any(char::is_control) {
        return None;
    }
    if first.is_ascii_alphabetic() || first == '/' {
        return match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            // Words that some version of YAML takes for something else than a text.
            _ if text.len() <= 5 && OPEN_WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) => None,
            _ => Some(Value::String(text.to_owned())),
        };
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if (digits == "0" || !digits.starts_with('0'))
        && !digits.is_empty()
        && digits.len() <= 18
        && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return text.parse::<i64>().ok().filter(|_| text != "-0").map(|number| Value::Number(Number::from(number)));
    }
    let like_number =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'+' | b'-' | b'e' | b'E' | b':');
    let prefixed = digits.starts_with("0x") || digits.starts_with("0o") || digits.starts_with("0b");
    let address = text.bytes().filter(|&byte| byte == b'.').count() >= 2
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // `-x` and `--xyz` of a command line.
    let option = text.strip_prefix("--").unwrap_or(digits);
    let is_option = first == '-' && option.starts_with(|char: char| char.is_ascii_alphabetic());
    let is_text = first.is_ascii_digit() && !prefixed && (address || !text.bytes().all(like_number)) || is_option;
    is_text.then(|| Value::String(text.to_owned()))
}

const OPEN_WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn by_library(text: &str) -> Option<Value> {
        serde_saphyr::from_str_with_options(text, super::super::yaml::options()).ok()
    }

    #[test]
    fn what_kubectl_prints_is_read() {
        let text = "- apiVersion: v1\n  items:\n  - a\n  - k: 1\n    l: \"2\"\n  - - x\n  m: {}\n  n-1: null\n  o:\n    p: 'it''s'\n  \
                    q:\n  r: 10.0.0.1\n  s: 100m\n  t: --x=y\n  u:\n  - -c\n  - |\n    if x\n      y\n  v: |-\n    {}\n";
        let expected = json!([{
            "apiVersion": "v1", "items": ["a", {"k": 1, "l": "2"}, ["x"]], "m": {}, "n-1": null, "o": {"p": "it's"}, "q": null,
            "r": "10.0.0.1", "s": "100m", "t": "--x=y", "u": ["-c", "if x\n  y\n"], "v": "{}",
        }]);
        assert_eq!(read(text, 128), Some(expected.clone()));
        assert_eq!(by_library(text), Some(expected));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_library() {
        for text in [
            "a: |\n  x\n\n",
            "a: |+\n  x\n",
            "a: >\n  x\n",
            "a: b\n  c\n",
            "a: &x b\n",
            "a: *x\n",
            "a: !!str b\n",
            "a: {b: c}\n",
            "a: [b]\n",
            "a: b # c\n",
            "# a\nb: c\n",
            "a: 1\na: 2\n",
            "a:\tb\n",
            "a: 010\n",
            "a: 1e3\n",
            "a: 0x1f\n",
            "a: yes\n",
            "a: ~\n",
            "a: 2026-01-01\n",
            "a: .5\n",
            "? a\n",
            "a: \"b\n",
            "a: 'b\n",
            "a: b\n c: d\n",
            "a: \"\\u0041\"\n",
            "\"a\": b\n",
            "a: 1.5\n",
            "a:\n\nb: c\n",
            "a: b: c\n",
        ] {
            assert_eq!(read(text, 128), None, "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_left_to_the_library() {
        let text: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert_eq!(read(&text, 128), None);
    }

    #[test]
    fn items_of_a_real_dump_are_read_as_the_library_reads_them() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dumps/kind-troubled.yaml");
        let text = std::fs::read_to_string(path).expect("the fixture");
        let (_, items) = super::super::yaml::split_list(&text).expect("a list");
        let plain = items.iter().filter(|item| match read(item, 128) {
            Some(value) => {
                assert_eq!(Some(value), by_library(item), "{item}");
                true
            }
            None => false,
        });
        assert!(plain.count() * 10 > items.len() * 5, "most of {} items are plain", items.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]
        #[test]
        fn never_another_value_than_the_library(
            scalars in proptest::collection::vec("[-0-9a-fnotuxyeE.:+_'\"#~/%{}\\[\\]|>&*!, \\\\]{0,8}", 1..4),
            keys in proptest::collection::vec("[a-cyn0-9.:/-]{1,4}", 4),
            layout in proptest::collection::vec(0usize..5, 4),
        ) {
            let mut text = String::new();
            for ((scalar, key), layout) in scalars.iter().zip(&keys).zip(&layout) {
                text += &match layout {
                    0 => format!("{key}: {scalar}\n"),
                    1 => format!("{key}:\n- {scalar}\n- {key}: {scalar}\n  {scalar}: x\n"),
                    2 => format!("{key}:\n  {key}: {scalar}\n"),
                    3 => format!("- {scalar}\n- - {scalar}\n"),
                    _ => format!("{key}:\n  {scalar}\n"),
                };
            }
            if let Some(value) = read(&text, 128) {
                prop_assert_eq!(Some(value), by_library(&text), "{:?}", text);
            }
        }
    }
}
