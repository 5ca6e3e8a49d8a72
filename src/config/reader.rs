//! From a tree of values to the structs of [`raw`](super::raw).
//!
//! A serde deserializer of our own: the one of the `config` crate takes `1883.4` for a port, `true` for a
//! threshold, and stops at the first unknown key. This one is strict with files, lenient with text from the
//! environment (which has no types), says what it wants in words, and notes unknown keys as it passes.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use config::{Value, ValueKind};
use serde::Deserializer;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};

use super::layers::Table;
use super::problem::Findings;
use super::suggest;
use crate::frame::CameraId;

/// Reads a whole file. Unknown keys are noted in `findings`; keys of a wrong type become [`Key::Wrong`](super::raw::Key).
pub(super) fn read<T: DeserializeOwned>(table: Table, findings: &mut Findings) -> T {
    let root = Node { value: Value::new(None, table), key: String::new(), findings: &RefCell::new(findings) };
    T::deserialize(root).expect("a file is a table, and its keys are read without failing")
}

/// How an element of a list is called: by its id where it has a proper one.
pub(super) fn element_key(list: &str, index: usize, id: Option<&str>) -> String {
    match id.map(CameraId::new) {
        Some(Ok(id)) => format!("{list}.{id}"),
        Some(Err(_)) | None => format!("{list}[{index}]"),
    }
}

pub(super) fn join(section: &str, key: &str) -> String {
    match (section, key) {
        ("", key) => key.into(),
        (section, "") => section.into(),
        (section, key) => format!("{section}.{key}"),
    }
}

/// One value and where it stands.
struct Node<'a> {
    value: Value,
    key: String,
    findings: &'a RefCell<&'a mut Findings>,
}

#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl<'a> Node<'a> {
    fn wrong(&self, wanted: &str) -> Wrong {
        let found = match &self.value.kind {
            ValueKind::String(text) => format!("\"{}\"", text.escape_debug()),
            ValueKind::Table(_) => "a table".into(),
            ValueKind::Array(_) => "a list".into(),
            other => other.to_string(),
        };
        Wrong(format!("must be {wanted}, is {found}"))
    }

    /// The value as text, if it may be read as something else: from the environment all is text.
    fn untyped<T: FromStr>(&self) -> Option<T> {
        match (&self.value.kind, self.value.origin()) {
            (ValueKind::String(text), Some(_)) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn child(&self, key: String, value: Value) -> Node<'a> {
        if let Some(origin) = origin(&value) {
            self.findings.borrow_mut().outside.insert(key.clone(), origin.to_owned());
        }
        Node { value, key, findings: self.findings }
    }

    fn children(&self, table: Table) -> Vec<(String, Node<'a>)> {
        let child = |(name, value): (String, Value)| {
            let key = join(&self.key, &name);
            (name, self.child(key, value))
        };
        let mut children: Vec<_> = table.into_iter().map(child).collect();
        children.sort_by(|a, b| a.0.cmp(&b.0));
        children
    }

    fn table(&mut self) -> Result<Table, Wrong> {
        match std::mem::take(&mut self.value.kind) {
            ValueKind::Table(table) => Ok(table),
            other => {
                self.value.kind = other;
                Err(self.wrong("a table of keys"))
            }
        }
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.kind {
            ValueKind::Boolean(flag) => visitor.visit_bool(flag),
            ValueKind::I64(whole) => visitor.visit_i64(whole),
            ValueKind::Float(number) => visitor.visit_f64(number),
            ValueKind::String(text) => visitor.visit_string(text),
            _ => visitor.visit_unit(),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.kind {
            ValueKind::Boolean(flag) => visitor.visit_bool(flag),
            _ => visitor.visit_bool(self.untyped().ok_or_else(|| self.wrong("true or false"))?),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.kind {
            ValueKind::I64(whole) => visitor.visit_i64(whole),
            _ => visitor.visit_i64(self.untyped().ok_or_else(|| self.wrong("a whole number"))?),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.kind {
            ValueKind::Float(number) => visitor.visit_f64(number),
            #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
            ValueKind::I64(whole) => visitor.visit_f64(whole as f64),
            _ => visitor.visit_f64(self.untyped().ok_or_else(|| self.wrong("a number"))?),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.kind {
            ValueKind::String(text) => visitor.visit_string(text),
            _ => Err(self.wrong("text in quotes")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.value.kind {
            ValueKind::String(text) if variants.contains(&text.as_str()) => {
                visitor.visit_enum(text.into_deserializer())
            }
            _ => Err(self.wrong(&format!("one of \"{}\"", variants.join("\", \"")))),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Wrong> {
        let kind = std::mem::take(&mut self.value.kind);
        let ValueKind::Array(values) = kind else {
            self.value.kind = kind;
            // Lists of tables are keys of the whole file, and lists inside sections are of values.
            if self.key.contains('.') {
                return Err(self.wrong("a list"));
            }
            return Err(Wrong(format!("must be a list, each element headed [[{}]]", self.key)));
        };
        let elements = values.into_iter().enumerate().map(|(index, value)| {
            let id = match &value.kind {
                ValueKind::Table(table) => table.get("id").and_then(|id| id.clone().into_string().ok()),
                _ => None,
            };
            self.child(element_key(&self.key, index, id.as_deref()), value)
        });
        visitor.visit_seq(SeqDeserializer::new(elements))
    }

    fn deserialize_tuple<V: Visitor<'de>>(mut self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        match std::mem::take(&mut self.value.kind) {
            ValueKind::Array(values) if values.len() == len => {
                let element = |(i, value)| self.child(format!("{}[{i}]", self.key), value);
                visitor.visit_seq(SeqDeserializer::new(values.into_iter().enumerate().map(element)))
            }
            ValueKind::Array(values) => Err(Wrong(format!("must be {len} numbers, has {}", values.len()))),
            other => {
                self.value.kind = other;
                Err(self.wrong(&format!("{len} numbers in brackets")))
            }
        }
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Wrong> {
        let table = self.table()?;
        visitor.visit_map(MapDeserializer::new(self.children(table).into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let table = self.table()?;
        let children = self.children(table);
        for (name, node) in &children {
            if !known.contains(&name.as_str()) {
                self.findings.borrow_mut().add(&node.key, suggest::unknown(name, known));
            }
        }
        visitor.visit_map(MapDeserializer::new(children.into_iter()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char str bytes byte_buf option unit unit_struct
        newtype_struct tuple_struct identifier
    }
}

impl IntoDeserializer<'_, Wrong> for Node<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Where a value comes from, if not from the file: a section may come from the environment as a whole.
fn origin(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::Table(table) => {
            let mut origins = table.values().map(origin);
            let first = origins.next()??;
            origins.all(|other| other == Some(first)).then_some(first)
        }
        _ => value.origin(),
    }
}
