//! What a route writes, from text: fields to set and to remove, redirects and answers.
//!
//! Not here: which fields the router adds and removes by itself. Those that carry framing or belong to one hop are
//! its own affair, and a route that touches them is a mistake.

use super::diagnostics::{Fault, quoted};
use super::model::Action;
use super::suggest;
use crate::http::template::{PLACEHOLDERS, Template};

/// Fields that say where a message ends, or that hold for one connection only. Lower case.
const OWN_FIELDS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the backend.
    Request,
    /// To the client.
    Response,
}

/// `Name: value`, in pieces.
#[derive(Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// A token.
    pub name: &'a str,
    /// Without blanks around it.
    pub value: &'a str,
    /// Where the value begins.
    pub value_at: usize,
}

/// `X-Client: {client_ip}`
pub fn set_request(text: &str) -> Result<(String, Template), Fault> {
    let field = field(text)?;
    settable(field.name)?;
    let value = template(field.value).map_err(|fault| fault.shifted(field.value_at))?;
    Ok((field.name.to_owned(), value))
}

/// `X-Frame-Options: DENY`
pub fn set_response(text: &str) -> Result<(String, String), Fault> {
    let field = field(text)?;
    settable(field.name)?;
    Ok((field.name.to_owned(), field.value.to_owned()))
}

/// `Cookie`
pub fn remove(text: &str, direction: Direction) -> Result<String, Fault> {
    if !is_token(text) {
        return Err(Fault::whole(text, format!("{} is not the name of a field", quoted(text))));
    }
    if direction == Direction::Request && text.eq_ignore_ascii_case("host") {
        return Err(Fault::whole(text, "a request must have `Host`; `set_header` may replace it"));
    }
    settable(text)?;
    Ok(text.to_owned())
}

/// `308 https://{host}{uri}`
pub fn redirect(text: &str) -> Result<Action, Fault> {
    let (digits, location, location_at) = code_and_rest(text);
    let code = digits.parse().ok().filter(|code| digits.len() == 3 && REDIRECTS.contains(code));
    let code = code.ok_or_else(|| {
        let what = format!("{} is not a status for a redirect: 301, 302, 303, 307 or 308", first_word(digits));
        Fault::part(0..digits.len(), what).help("write `redirect = 308 https://{host}{uri}`".to_owned())
    })?;
    if location.is_empty() {
        let help = "write `redirect = CODE URL`".to_owned();
        return Err(Fault::whole(text, "the URL is missing").help(help));
    }
    if let Some((at, c)) = location.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
        let what = format!("{} cannot be in a URL", quoted(&c.to_string()));
        return Err(Fault::part(at..at + c.len_utf8(), what).shifted(location_at));
    }
    let location = template(location).map_err(|fault| fault.shifted(location_at))?;
    Ok(Action::Redirect { code, location })
}

/// `200 "text"`, `200 text`, or `204`. Between the quotes everything is as it stands, quotes too.
pub fn respond(text: &str) -> Result<Action, Fault> {
    let (digits, body, body_at) = code_and_rest(text);
    let code = digits.parse::<u16>().ok().filter(|code| digits.len() == 3 && (200..=599).contains(code));
    let code = code.ok_or_else(|| {
        let what = format!("{} is not a status for an answer: 200 to 599", first_word(digits));
        Fault::part(0..digits.len(), what).help("write `respond = 200 \"text\"`".to_owned())
    })?;
    let (body, body_at) = match body.strip_prefix('"') {
        None => (body, body_at),
        Some(inner) => match inner.strip_suffix('"') {
            Some(inner) => (inner, body_at + 1),
            None => {
                let what = match inner.rsplit_once('"') {
                    Some((_, after)) if after.trim_start().starts_with(['#', ';']) => {
                        "a comment begins a line; it cannot follow a text"
                    }
                    _ => "a text that begins with `\"` ends with `\"`",
                };
                return Err(Fault::part(body_at..text.len(), what));
            }
        },
    };
    if matches!(code, 204 | 205 | 304) && !body.is_empty() {
        return Err(Fault::part(body_at..body_at + body.len(), format!("an answer with {code} has no body")));
    }
    let text = template(body).map_err(|fault| fault.shifted(body_at))?;
    Ok(Action::Respond { code, text })
}

/// `Name: value`; a value may be empty.
pub fn field(text: &str) -> Result<Field<'_>, Fault> {
    let Some((name, rest)) = text.split_once(':') else {
        return Err(
            Fault::whole(text, "there is no `:` after the name of the field").help("write `Name: value`".to_owned())
        );
    };
    if !is_token(name) {
        let at = 0..name.len().max(1);
        return Err(Fault::part(at, "what stands before `:` is not the name of a field"));
    }
    let value = rest.trim_matches([' ', '\t']);
    let value_at = text.len() - rest.trim_start_matches([' ', '\t']).len();
    // A file has no control characters, and a variable is checked as well; the wire deserves a second look.
    if let Some((at, c)) = value.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
        let at = value_at + at..value_at + at + c.len_utf8();
        return Err(Fault::part(at, "a control character cannot be in a field"));
    }
    Ok(Field { name, value, value_at })
}

/// RFC 9110 5.6.2
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn settable(name: &str) -> Result<(), Fault> {
    if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(Fault::whole(name, format!("{} is written by the router itself", quoted(name))));
    }
    Ok(())
}

fn template(text: &str) -> Result<Template, Fault> {
    Template::parse(text).map_err(|error| {
        let start = text.floor_char_boundary(error.at);
        if error.name.is_empty() {
            let end = text.ceil_char_boundary(start + 1);
            return Fault::part(start..end, error.what);
        }
        // From brace to brace, which there are: else the name would not be known.
        let start = match text.get(..start).is_some_and(|before| before.ends_with('{')) {
            true => start - 1,
            false => start,
        };
        let end = text.get(start..).and_then(|rest| rest.find('}')).map_or(text.len(), |brace| start + brace + 1);
        let help = suggest::nearest(&error.name, PLACEHOLDERS.iter().copied())
            .map(|meant| format!("did you mean `{{{meant}}}`?"))
            .unwrap_or_else(|| format!("placeholders are {{{}}}; a literal brace is `{{{{`", PLACEHOLDERS.join("} {")));
        Fault::part(start..end, format!("unknown placeholder {}", quoted(&format!("{{{}}}", error.name)))).help(help)
    })
}

/// The first word, the rest without blanks around it, and where that begins.
fn code_and_rest(text: &str) -> (&str, &str, usize) {
    let (code, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let rest_at = text.len() - rest.trim_start().len();
    (code, rest.trim(), rest_at)
}

/// A wrong status; if it is no number at all it may be a URL with a password in it, which no message repeats.
fn first_word(word: &str) -> String {
    if word.bytes().all(|b| b.is_ascii_digit()) { quoted(word) } else { "the first word".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_may_be_set() {
        assert!(set_request("Host: backend.local").is_ok());
        assert!(set_request("X-Client: {client_ip}, {{}}").is_ok());
        assert_eq!(set_response("X-A:b: {c}"), Ok(("X-A".to_owned(), "b: {c}".to_owned())));
        for own in OWN_FIELDS {
            assert!(set_request(&format!("{}: x", own.to_uppercase())).is_err(), "{own}");
            assert!(remove(own, Direction::Response).is_err(), "{own}");
        }
        for bad in ["X-A", ": x", "X A: b", "X-A: {hots}", "X-A: a\nb", "X-A: {"] {
            assert!(set_request(bad).is_err(), "{bad:?}");
        }
        assert!(remove("host", Direction::Request).is_err());
        assert!(remove("Cookie", Direction::Request).is_ok());
    }

    #[test]
    fn an_unknown_placeholder_is_shown_where_it_is() {
        let fault = set_request("X-A: {host} {hots}").err();
        assert_eq!(fault.as_ref().map(|fault| fault.at.clone()), Some(12..18));
        assert_eq!(fault.and_then(|fault| fault.help), Some("did you mean `{host}`?".to_owned()));
    }

    #[test]
    fn redirects_and_answers() {
        assert!(redirect("308 https://{host}{uri}").is_ok());
        for bad in ["308", "300 /x", "https://x", "308 /a b", "0308 /x", "308 /é", ""] {
            assert!(redirect(bad).is_err(), "{bad}");
        }
        let body = |text: &str| match respond(text) {
            Ok(Action::Respond { code, text }) => Some((code, text.to_string())),
            _ => None,
        };
        assert_eq!(body("200 \"a \"b\" # c\""), Some((200, "a \"b\" # c".to_owned())));
        assert_eq!(body("503 back soon"), Some((503, "back soon".to_owned())));
        assert_eq!(body("204"), Some((204, String::new())));
        for bad in ["199 x", "600 x", "ok", "200 \"x", "200 \"x\" # y", "204 x", "200 \"", "200 {nope}"] {
            assert_eq!(body(bad), None, "{bad}");
        }
    }
}
