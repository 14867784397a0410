//! JSON texts: documents, Lists whose items are read one by one, bare arrays.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::object::Header;
use super::{Importer, Problem, Source};

/// One or more JSON documents. Items of a List are read one by one, so that the whole is never in memory as a tree.
pub(super) fn read_json(importer: &mut Importer, text: &str, file: &Arc<str>) {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut document = 0;
    loop {
        document += 1;
        let source = Source { file: Arc::clone(file), document, item: 0 };
        importer.reading = 0;
        if let Err(error) = (Document { importer, source: source.clone() }).deserialize(&mut deserializer) {
            let document = if document == 1 && importer.entries.is_empty() { 0 } else { document };
            let source = Source { document, item: importer.reading, ..source };
            let message = format!("{error}; the text is cut off here, or is no JSON");
            importer.problems.push(Problem { source, object: String::new(), field: String::new(), message });
            return;
        }
        if deserializer.end().is_ok() {
            break;
        }
    }
    if document == 1 {
        let all = importer.entries.iter_mut().map(|entry| &mut entry.source);
        all.chain(importer.problems.iter_mut().map(|problem| &mut problem.source))
            .for_each(|source| source.document = 0);
    }
}

/// A JSON document: an object, a List, or a bare array of objects.
struct Document<'a> {
    importer: &'a mut Importer,
    source: Source,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a List")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = serde_json::Map::new();
        let mut late = Vec::new();
        let mut is_list = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                is_list = true;
                let implied = implied(&fields);
                late = map.next_value_seed(Items { importer: self.importer, source: self.source.clone(), implied })?;
            } else {
                fields.insert(key, map.next_value()?);
            }
        }
        if !is_list {
            self.importer.add(&Value::Object(fields), self.source);
            return Ok(());
        }
        let implied = implied(&fields);
        if !implied.kind.is_empty() {
            self.importer.listed.push(implied.kind);
        }
        for (item, value) in late {
            self.importer.add_as(&value, Source { item, ..self.source.clone() }, &implied);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        let items = Items { importer: self.importer, source: self.source.clone(), implied: Header::default() };
        let late = items.visit_seq(list)?;
        for (item, value) in late {
            self.importer.add(&value, Source { item, ..self.source.clone() });
        }
        Ok(())
    }
}

/// What a List says of the kind of its items; nothing for a plain `List`.
pub(super) fn implied(fields: &serde_json::Map<String, Value>) -> Header {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("kind").strip_suffix("List") {
        Some(kind) if !kind.is_empty() => Header { api_version: text("apiVersion").into(), kind: kind.into() },
        Some(_) | None => Header::default(),
    }
}

/// The items of a List, added one by one. Those that do not say their kind although the List has not said it yet are handed
/// back with their numbers.
struct Items<'a> {
    importer: &'a mut Importer,
    source: Source,
    implied: Header,
}

impl Items<'_> {
    /// Says that there is something else than a list, and goes on behind it.
    fn no_list<E>(self, found: &Value) -> Result<Vec<(usize, Value)>, E> {
        self.importer.no_list(self.source, "List".to_owned(), found);
        Ok(Vec::new())
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<(usize, Value)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<(usize, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the items of a List")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut late, mut item) = (Vec::new(), 0);
        self.importer.reading = 1;
        while let Some(value) = list.next_element::<Value>()? {
            item += 1;
            self.importer.reading = item + 1;
            if value.get("kind").is_none() && self.implied.kind.is_empty() && value.is_object() {
                late.push((item, value));
            } else {
                self.importer.add_as(&value, Source { item, ..self.source.clone() }, &self.implied);
            }
        }
        self.importer.reading = 0;
        Ok(late)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.no_list(&Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))?)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        self.no_list(&text.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        self.no_list(&value.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        self.no_list(&number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        self.no_list(&number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        self.no_list(&number.into())
    }
}
