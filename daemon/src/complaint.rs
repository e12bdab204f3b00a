//! What a program says of the errors with which it ends.

use anyhow::Error;
use config::ConfigError;

/// Each error on a line of its own, with its causes, and its hints below it. A configuration has as many as it has mistakes.
pub fn text(
    program: &str,
    errors: impl IntoIterator<Item = Error>,
    hint: impl Fn(&Error) -> Option<String>,
) -> String {
    let each = |error: Error| match error.downcast::<ConfigError>() {
        Ok(mistakes) => mistakes.each().into_iter().map(Error::from).collect(),
        Err(error) => vec![error],
    };
    let told = |error: Error| {
        let hint = hint(&error);
        let hints = hint.iter().flat_map(|hint| hint.lines()).map(|line| format!("hint: {line}\n"));
        format!("{program}: {error:#}\n{}", hints.collect::<String>())
    };
    errors.into_iter().flat_map(each).map(told).collect()
}

#[cfg(test)]
mod tests {
    use config::Config;
    use model::hint::Hint as _;

    use super::*;

    #[test]
    fn every_mistake_of_a_configuration_is_told_with_its_hint() {
        let text = "[admission]\nbuses = [\"loops\"]\n[control]\nmode = \"9\"\n[[bay]]\nname = \"a\"\npath = \"x\"\n\
                    [[bay]]\nname = \"a\"\npath = \"y\"\n";
        let error = Config::from_table(text.parse().unwrap()).unwrap_err();
        let hint = |error: &Error| error.downcast_ref::<ConfigError>().and_then(|e| e.hint());
        let told = super::text("prestaged", [error.into(), Error::msg("and another")], hint);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 7, "{told}");
        for (line, start) in lines.iter().zip([
            "prestaged: admission.buses: no drive is on a bus \"loops\"",
            "hint: ",
            "prestaged: control.mode: \"9\" is not a file mode",
            "hint: ",
            "prestaged: [[bay]] name: two bays have the name \"a\"",
            "hint: ",
            "prestaged: and another",
        ]) {
            assert!(line.starts_with(start), "{line}; not {start}");
        }
    }
}
