//! JSON Schemas of the files that people write, for their editors. `csflowd check` knows more: ranges, and what
//! must fit together.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::raw;

/// Of the station file.
pub fn station() -> Value {
    of::<raw::File>()
}

/// Of a product file.
pub fn product() -> Value {
    of::<raw::Product>()
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(WithoutDefaults);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Defaults stand in the commented files: here they are not known.
#[derive(Clone)]
struct WithoutDefaults;

impl Transform for WithoutDefaults {
    fn transform(&mut self, schema: &mut Schema) {
        schema.remove("default");
        transform_subschemas(self, schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: &Value, toml: &str, is_valid: bool) {
        let text =
            config::Config::builder().add_source(config::File::from_str(toml, config::FileFormat::Toml));
        let value: Value = text.build().unwrap().try_deserialize().unwrap();
        assert_eq!(jsonschema::is_valid(schema, &value), is_valid, "{value}");
    }

    #[test]
    fn the_shipped_files_satisfy_their_schemas() {
        check(&station(), include_str!("../../config/csflowd.toml"), true);
        check(&station(), include_str!("../../config/examples/files.toml"), true);
        check(&product(), include_str!("../../config/products/example.toml"), true);
        check(&product(), "[roi]\nwidth = 40\nheight = 20\ninclude = [[[0, 0], [9.5, 0], [9, 9]]]", true);
    }

    #[test]
    fn unknown_keys_and_wrong_types_do_not() {
        check(&station(), "[mqtt]\nprot = 1883", false);
        check(&station(), "[mqtt]\nport = \"1883\"", false);
        check(&product(), "[regions]\nmin_area = 1", false);
        check(&product(), "[roi]\ninclude = [[[0, 0], [1]]]", false);
    }
}
