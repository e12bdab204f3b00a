//! Whether a document is as its JSON schema says. It knows the keywords that our schemas have, and fails on any other, so
//! that none is passed over.

use model::api::schema::Document;
use model::units::Bytes;
use serde_json::Value;

/// Checks a document. Fields that the schema does not name are mistakes, too.
#[track_caller]
pub(crate) fn assert_is(document: Document, value: &Value) {
    let schema = document.schema().to_value();
    let mut wrong = Vec::new();
    check(&schema, &schema, value, &document.to_string(), &mut wrong);
    assert!(wrong.is_empty(), "{}\n{value:#}\n{schema:#}", wrong.join("\n"));
}

/// Whether a document is as its schema says.
pub(crate) fn is(document: Document, value: &Value) -> bool {
    let schema = document.schema().to_value();
    let mut wrong = Vec::new();
    check(&schema, &schema, value, "", &mut wrong);
    wrong.is_empty()
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            wrong.push(format!("{at} must not be there"));
        }
        return;
    };
    for (keyword, is) in keywords {
        match keyword.as_str() {
            "$schema"
            | "$defs"
            | "title"
            | "description"
            | "format"
            | "default"
            | "required"
            | "additionalProperties" => {}
            "$ref" => {
                let name = is.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(root, &root["$defs"][name], value, at, wrong);
            }
            "type" => {
                let types = is.as_array().cloned().unwrap_or_else(|| vec![is.clone()]);
                if !types.iter().any(|name| is_of(value, name.as_str().unwrap())) {
                    wrong.push(format!("{at} is {value}, not {is}"));
                }
            }
            "const" if value != is => wrong.push(format!("{at} is {value}, not {is}")),
            "enum" if !is.as_array().unwrap().contains(value) => {
                wrong.push(format!("{at} is {value}, none of {is}"));
            }
            "const" | "enum" => {}
            "minimum" if value.is_number() && value.as_f64() < is.as_f64() => {
                wrong.push(format!("{at} is {value}"))
            }
            "maximum" if value.is_number() && value.as_f64() > is.as_f64() => {
                wrong.push(format!("{at} is {value}"))
            }
            "minimum" | "maximum" => {}
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, is, item, &format!("{at}[{index}]"), wrong);
                }
            }
            "minItems" | "maxItems" => check_count(keyword, is, value, at, wrong),
            "anyOf" | "oneOf" => {
                let fits = |one: &&Value| {
                    let mut why = Vec::new();
                    check(root, one, value, at, &mut why);
                    why.is_empty()
                };
                let count = is.as_array().unwrap().iter().filter(fits).count();
                if count == 0 || (keyword == "oneOf" && count > 1) {
                    wrong.push(format!("{at} fits {count} of {keyword}: {value}"));
                }
            }
            "properties" => {
                let known = is.as_object().unwrap();
                for (name, inner) in value.as_object().into_iter().flatten() {
                    match known.get(name) {
                        Some(schema) => check(root, schema, inner, &format!("{at}.{name}"), wrong),
                        None => wrong.push(format!("{at}.{name} is not in the schema")),
                    }
                }
            }
            other => panic!("{at}: the test does not know the keyword {other}: {schema:#}"),
        }
    }
    for name in keywords.get("required").and_then(Value::as_array).into_iter().flatten() {
        if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
            wrong.push(format!("{at}.{name} is missing"));
        }
    }
}

fn check_count(keyword: &str, is: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let Some(items) = value.as_array() else { return };
    let (count, limit) = (Bytes::of(items.len()).0, is.as_u64().unwrap());
    let fits = match keyword {
        "minItems" => count >= limit,
        _ => count <= limit,
    };
    if !fits {
        wrong.push(format!("{at} has {count} items"));
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("{other}"),
    }
}
