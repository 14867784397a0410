//! A trace for human eyes: one event a line, in columns.

use std::fmt;

use super::Line;

impl fmt::Display for Line {
    /// Time in seconds, event, and what it is about: `   12.345 pod.deleting         default/Pod/web-1#4 on n2 30`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:03} {:<21}", self.t / 1000, self.t % 1000, self.ev)?;
        if !self.what.is_empty() {
            write!(f, " {}", self.what)?;
        }
        if let Some(pod) = self.pod {
            write!(f, " {pod}")?;
        }
        if let Some(uid) = self.uid {
            write!(f, "#{uid}")?;
        }
        match (self.node, self.pod) {
            (Some(node), Some(_)) => write!(f, " on {node}")?,
            (Some(node), None) => write!(f, " {node}")?,
            (None, _) => {}
        }
        if let Some(object) = self.object {
            write!(f, " {object}")?;
        }
        if let Some(code) = self.code {
            write!(f, " {code}")?;
        }
        if let Some(version) = self.version {
            write!(f, " {version}")?;
        }
        if let Some(ok) = self.ok {
            write!(f, " {}", if ok { "ok" } else { "not ok" })?;
        }
        for number in &self.numbers {
            write!(f, " {number}")?;
        }
        if !self.message.is_empty() {
            write!(f, " {}", self.message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::{ObjectKey, Time};
    use crate::trace::{Header, Line, ReadError, read};

    fn line() -> Line {
        Line {
            t: 12_345,
            ev: "pod.deleting".into(),
            pod: Some(ObjectKey::new("default".into(), "Pod", "web-1".into())),
            uid: Some(4),
            node: Some("n2".into()),
            numbers: vec![30],
            ..Line::default()
        }
    }

    #[test]
    fn a_line_is_one_row_of_columns() {
        assert_eq!(line().to_string(), "   12.345 pod.deleting          default/Pod/web-1#4 on n2 30");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let header = Header::new(Time(1_000), Some(7));
        let text = format!("{}\n{}\n", header.to_json(), line().to_json());
        let (again, lines) = read(&text).unwrap();
        assert_eq!((again, lines), (header, vec![line()]));
        assert!(text.contains(
            r#"{"t":12345,"ev":"pod.deleting","pod":"default/Pod/web-1","uid":4,"node":"n2","numbers":[30]}"#
        ));
    }

    #[test]
    fn another_version_and_broken_lines_are_refused() {
        let other = Header::new(Time(0), None).to_json().replace("v1", "v2");
        assert!(matches!(read(&other), Err(ReadError::Format(format)) if format.ends_with("v2")));
        assert!(matches!(read(""), Err(ReadError::Empty)));
        let text = format!("{}\n{{\"t\":1}}\n{{\"t\":\n", Header::new(Time(0), None).to_json());
        assert!(matches!(read(&text), Err(ReadError::Line { number: 3, .. })));
    }
}
