//! The standard variables that switch traces on. The rest of them are read by the crates.

/// Whether traces are exported.
///
/// # Errors
/// [`TracesError`] if a variable asks for something that is not here.
pub(super) fn is_on(variable: impl Fn(&str) -> Option<String>) -> Result<bool, TracesError> {
    let set = |name: &'static str| variable(name).filter(|value| !value.trim().is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    let on = match set("OTEL_TRACES_EXPORTER").as_deref() {
        Some("none") => false,
        Some("otlp") => true,
        Some(other) => {
            return Err(wrong("OTEL_TRACES_EXPORTER", "otlp or none", other));
        }
        // The specification exports by default, to this machine. Nobody may listen there.
        None => ENDPOINTS.iter().any(|name| set(name).is_some()),
    };
    if on {
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            match set(name).as_deref() {
                Some("http/protobuf") | None => {}
                Some(other) => return Err(wrong(name, "http/protobuf", other)),
            }
        }
        if let Some(sampler) = set("OTEL_TRACES_SAMPLER").filter(|sampler| !SAMPLERS.contains(&&**sampler)) {
            return Err(wrong("OTEL_TRACES_SAMPLER", &SAMPLERS.join(", "), &sampler));
        }
    }
    Ok(on)
}

/// Where spans go.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The samplers that the crate has.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

fn wrong(name: &'static str, allowed: &str, value: &str) -> TracesError {
    TracesError::Variable(format!("{name} must be {allowed}, not {value}"))
}

/// Why there can be no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A variable has a value that is not here.
    #[error("{0}")]
    Variable(String),
    /// The exporter cannot be made.
    #[error("traces cannot be exported: {0}")]
    Exporter(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_or_the_exporter_switches_them_on() {
        let on = |pairs: &[(&str, &str)]| {
            let find =
                |name: &str| pairs.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
            is_on(find).map_err(|error| error.to_string())
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        assert_eq!(on(&[]), Ok(false));
        assert_eq!(on(&[endpoint]), Ok(true));
        assert_eq!(on(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost/v1")]), Ok(true));
        assert_eq!(on(&[("OTEL_TRACES_EXPORTER", "otlp")]), Ok(true));
        assert_eq!(on(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(false), "an empty one is not set");
        assert_eq!(on(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(false));
        assert_eq!(on(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(false));
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_TRACES_SAMPLER", "xray"),
        ] {
            let error = on(&[endpoint, (name, value)]).unwrap_err();
            assert!(error.starts_with(name) && error.ends_with(value), "{error}");
        }
        assert_eq!(on(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Ok(false), "others may use it");
    }
}
