//! Templates whose values cannot break out: every inserted value becomes one quoted word of the shell, and where quotes would
//! not hold it (in quotes, comments, here-documents, ...) inserting is an error.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

/// Stand around an inserted value until its place has been looked at. Not characters of any value.
const BEGIN: char = '\u{f0000}';
const END: char = '\u{f0001}';

/// The values of one node, ready to be inserted.
pub struct Templates {
    environment: Environment<'static>,
    values: Value,
}

impl Templates {
    /// With values by name; every other name is an error.
    pub fn new(values: BTreeMap<String, String>) -> Templates {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("words", words);
        environment.set_formatter(|out, _, value| {
            let text = format!("{BEGIN}{}{END}", quoted(value)?);
            out.write_str(&text).map_err(Error::from)
        });
        Templates { environment, values: Value::from_pairs(values) }
    }

    /// The script of a template.
    pub fn render(&self, template: &str) -> Result<String, String> {
        if template.contains([BEGIN, END]) {
            return Err("contains a character of private use".to_owned());
        }
        let text = self.environment.render_str(template, &self.values).map_err(|error| said(&error))?;
        let mut places = Places::default();
        places.walk(&text)?;
        Ok(text.replace([BEGIN, END], ""))
    }
}

fn said(error: &Error) -> String {
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    let line = error.line().map_or(String::new(), |line| format!(" (line {line})"));
    format!("{}{detail}{line}", error.kind())
}

/// The words of a text, as a shell would read them; each becomes a word of its own.
fn words(text: String) -> Result<Vec<String>, Error> {
    shell_words::split(&text)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("{text:?} cannot be read as words: {error}")))
}

fn quoted(value: &Value) -> Result<String, Error> {
    let fail = |what: &str| Err(Error::new(ErrorKind::InvalidOperation, what.to_owned()));
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => fail("undefined value"),
        ValueKind::Seq => {
            let words: Result<Vec<String>, Error> = value.try_iter()?.map(|one| quoted(&one)).collect();
            Ok(words?.join(" "))
        }
        ValueKind::String | ValueKind::Number | ValueKind::Bool => {
            let text = value.to_string();
            if text.contains(['\0', BEGIN, END]) {
                return fail("a value holds a character that no script can hold");
            }
            Ok(format!("'{}'", text.replace('\'', r"'\''")))
        }
        _ => fail("only texts, numbers and lists of them can be inserted"),
    }
}

/// Where in a script one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// `$( ... )`, with the brackets that are open inside.
    Substitution(usize),
    /// `" ... "`
    Double,
    /// `${ ... }`
    Brace,
    /// `$(( ... ))`, with the brackets that are open inside.
    Arithmetic(usize),
}

/// Walks through a script as the shell reads it, and refuses values where quotes do not hold them. Where reading gets difficult
/// it refuses, too.
#[derive(Default)]
struct Places {
    open: Vec<Place>,
    /// Why nothing may be inserted any more.
    never: Option<&'static str>,
}

impl Places {
    fn walk(&mut self, text: &str) -> Result<(), String> {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let before = at.checked_sub(1).map_or('\n', |before| chars[before]);
            let starts = |word: &str| chars[at..].iter().copied().take(word.len()).eq(word.chars());
            let word_begins = before.is_whitespace() || ";&|()".contains(before);
            let top = self.open.last().copied();
            match (chars[at], top) {
                (BEGIN, _) => {
                    self.insert(before)?;
                    at += chars[at..].iter().position(|&c| c == END).unwrap_or(0);
                }
                ('\\', _) => {
                    // What follows means itself; a value must not begin there.
                    at += 1;
                    if chars.get(at) == Some(&BEGIN) {
                        return Err(refuse("behind a backslash"));
                    }
                }
                ('"', Some(Place::Double)) => drop(self.open.pop()),
                ('"', _) => self.open.push(Place::Double),
                ('\'', top) if top != Some(Place::Double) && !self.quoted_brace() => {
                    if before == '$' {
                        self.never = Some("behind $'...'");
                    }
                    let end = chars[at + 1..].iter().position(|&c| c == '\'' || c == BEGIN);
                    match end.map(|end| at + 1 + end) {
                        Some(end) if chars[end] == BEGIN => return Err(refuse("in single quotes")),
                        Some(end) => at = end,
                        None => return Err("a single quote is not closed".to_owned()),
                    }
                }
                ('`', _) => self.never = Some("behind a backquote (use $( ) instead)"),
                ('$', _) if starts("$((") => {
                    self.open.push(Place::Arithmetic(0));
                    at += 2;
                }
                ('$', _) if starts("$(") => {
                    self.open.push(Place::Substitution(0));
                    at += 1;
                }
                ('$', _) if starts("${") => {
                    self.open.push(Place::Brace);
                    at += 1;
                }
                ('}', Some(Place::Brace)) => drop(self.open.pop()),
                ('(', Some(Place::Substitution(depth))) => self.replace(Place::Substitution(depth + 1)),
                (')', Some(Place::Substitution(0))) => drop(self.open.pop()),
                (')', Some(Place::Substitution(depth))) => self.replace(Place::Substitution(depth - 1)),
                ('(', Some(Place::Arithmetic(depth))) => self.replace(Place::Arithmetic(depth + 1)),
                (')', Some(Place::Arithmetic(0))) => {
                    self.open.pop();
                    at += 1;
                }
                (')', Some(Place::Arithmetic(depth))) => self.replace(Place::Arithmetic(depth - 1)),
                ('c', Some(Place::Substitution(_))) if word_begins && starts("case") => {
                    self.never = Some("behind `case` in $( )");
                }
                ('<', None | Some(Place::Substitution(_))) if starts("<<") => self.never = Some("behind <<"),
                ('#', None | Some(Place::Substitution(_))) if word_begins => {
                    let end = chars[at..].iter().position(|&c| c == '\n' || c == BEGIN);
                    match end.map(|end| at + end) {
                        Some(end) if chars[end] == BEGIN => return Err(refuse("in a comment")),
                        Some(end) => at = end,
                        None => at = chars.len(),
                    }
                }
                _ => {}
            }
            at += 1;
        }
        match self.open.last() {
            None => Ok(()),
            Some(Place::Double) => Err("a double quote is not closed".to_owned()),
            Some(Place::Substitution(_)) => Err("$( is not closed".to_owned()),
            Some(Place::Brace) => Err("${ is not closed".to_owned()),
            Some(Place::Arithmetic(_)) => Err("$(( is not closed".to_owned()),
        }
    }

    fn replace(&mut self, place: Place) {
        self.open.pop();
        self.open.push(place);
    }

    /// In `"${ ... }"` a single quote is itself.
    fn quoted_brace(&self) -> bool {
        self.open.last() == Some(&Place::Brace) && self.open.contains(&Place::Double)
    }

    fn insert(&self, before: char) -> Result<(), String> {
        if let Some(why) = self.never {
            return Err(refuse(why));
        }
        let plain = |place: &&Place| !matches!(place, Place::Substitution(_));
        match self.open.iter().find(plain) {
            Some(Place::Double) => Err(refuse("in double quotes")),
            Some(Place::Brace) => Err(refuse("in ${ }")),
            Some(Place::Arithmetic(_)) => Err(refuse("in $(( ))")),
            Some(Place::Substitution(_)) | None if before == '$' => Err(refuse("behind $")),
            Some(Place::Substitution(_)) | None => Ok(()),
        }
    }
}

fn refuse(place: &str) -> String {
    format!("{{{{ ... }}}} {place}: it is quoted already, and must stand outside of quotes")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn render(template: &str, value: &str) -> Result<String, String> {
        Templates::new(BTreeMap::from([("x".to_owned(), value.to_owned())])).render(template)
    }

    fn shell(script: &str) -> Vec<u8> {
        let output = Command::new("/bin/sh").arg("-euc").arg(script).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Places where a value may stand; each prints it between brackets.
    const PLACES: &[&str] = &[
        "printf '[%s]' {{ x }}",
        "printf '[%s]' pre{{ x }}'post'",
        "v={{ x }}; printf '[%s]' \"$v\"",
        "printf '[%s]' $(printf %s. {{ x }} >/dev/null) {{ x|safe }}",
        "f() { printf '[%s]' \"$1\"; }; f {{ x }} # done",
        "{% autoescape false %}printf '[%s]' {{ x }}{% endautoescape %}",
        "{% macro m() %}{{ x }}{% endmacro %}case {{ x }} in *) printf '[%s]' {{ x }};; esac",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn any_text_comes_out_as_itself(text in "[^\\x00\u{f0000}\u{f0001}]{0,40}", place in 0..PLACES.len()) {
            let out = shell(&render(PLACES[place], &text).unwrap());
            let wanted = if place == 1 { format!("[pre{text}post]") } else { format!("[{text}]") };
            prop_assert_eq!(String::from_utf8_lossy(&out), wanted);
        }

        #[test]
        fn hostile_texts_come_out_as_themselves(text in "[\\\\'\"$`(){};&|<> \n!#~*?a-c-]{0,24}", place in 0..PLACES.len()) {
            let out = shell(&render(PLACES[place], &text).unwrap());
            let wanted = if place == 1 { format!("[pre{text}post]") } else { format!("[{text}]") };
            prop_assert_eq!(String::from_utf8_lossy(&out), wanted);
        }

        #[test]
        fn words_come_out_as_themselves(words in prop::collection::vec("[^\\x00\u{f0000}\u{f0001}]{0,10}", 0..5)) {
            let script = render("for w in {{ x | words }}; do printf '[%s]' \"$w\"; done", &shell_words::join(&words)).unwrap();
            let wanted: String = words.iter().map(|word| format!("[{word}]")).collect();
            let out = shell(&script);
            prop_assert_eq!(String::from_utf8_lossy(&out), wanted);
        }
    }

    #[test]
    fn where_quotes_do_not_hold_nothing_is_inserted() {
        for template in [
            "echo \"{{ x }}\"",
            "echo '{{ x }}'",
            "echo \"$(echo \"{{ x }}\")\"",
            "echo \"$(echo {{ x }})\"",
            "echo \"${a:-{{ x }}}\"",
            "echo ${a:-'{{ x }}'}",
            "# {{ x }}",
            "echo a # {{ x }}",
            "echo `echo {{ x }}`",
            "cat <<EOF\n{{ x }}\nEOF",
            "echo $(( {{ x }} ))",
            "echo ${{ x }}",
            "echo \\{{ x }}",
            "echo $'a\\'{{ x }}'",
            "echo \"$(case a in a) echo \"{{ x }}\";; esac)\"",
            "echo '{{ x }}",
        ] {
            assert!(render(template, "v").is_err(), "{template}");
        }
        for template in ["echo {{ y }}", "echo {{ x.y }}", "{{ x", "echo 'a", "echo \"a", "echo $(a", "echo {{ none }}"]
        {
            assert!(render(template, "v").is_err(), "{template}");
        }
        for template in ["echo $# a#b {{ x }}", "echo \"it's\" {{ x }}", "echo '\"' {{ x }}", "echo \\' {{ x }}"] {
            assert!(render(template, "v").is_ok(), "{template}");
        }
        assert!(render("echo {{ x }}", "a\0b").is_err());
        assert!(render("echo {{ x | words }}", "a 'b").is_err());
    }
}
