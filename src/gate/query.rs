//! The query of a request, and the path it is joined to, as the cluster is asked.

use form_urlencoded::Serializer;
use http::Uri;
use http::request::Parts;

use super::room::{DRILL, OWN};
use super::space::Naming;
use super::target::Objects;

fn parameters(uri: &Uri) -> Vec<(String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

/// Whether changes are asked for as they come.
pub fn is_watch(uri: &Uri) -> bool {
    parameters(uri)
        .iter()
        .any(|(name, value)| name == "watch" && ["1", "true", "t", "True", "TRUE", "T"].contains(&value.as_str()))
}

/// Sets path and query. Of namespaces the drill's alone are asked for; of what is deleted together redrill's own is left out.
pub fn map(
    parts: &mut Parts,
    objects: &Objects,
    on_cluster: &Objects,
    naming: &Naming,
    drill: &str,
) -> Result<(), String> {
    let mut parameters = parameters(&parts.uri);
    for (name, value) in &mut parameters {
        if name == "fieldSelector" {
            *value = field_selector(value, objects, naming)?;
        }
    }
    let is_collection = objects.name.is_none();
    let added = if objects.are_namespaces() && is_collection && parts.method == http::Method::GET {
        Some(format!("{DRILL}={drill},{OWN}!=true"))
    } else if is_collection && parts.method == http::Method::DELETE {
        Some(format!("{OWN}!=true"))
    } else {
        None
    };
    if let Some(added) = added {
        match parameters.iter_mut().find(|(name, value)| name == "labelSelector" && !value.is_empty()) {
            Some((_, selector)) => *selector = format!("{selector},{added}"),
            None => parameters.push(("labelSelector".to_owned(), added)),
        }
    }
    let mut uri = on_cluster.path();
    // Several commands of an exec have one name, and an order.
    let query = Serializer::new(String::new()).extend_pairs(parameters).finish();
    if !query.is_empty() {
        uri.push('?');
        uri.push_str(&query);
    }
    parts.uri = uri.parse().map_err(|_| "the path cannot be read".to_owned())?;
    Ok(())
}

/// Asks for all in one answer: pages of several namespaces do not follow one another.
pub fn all_at_once(parts: &mut Parts) -> Result<(), String> {
    let kept = parameters(&parts.uri).into_iter().filter(|(name, _)| !["limit", "continue"].contains(&name.as_str()));
    let query = Serializer::new(String::new()).extend_pairs(kept).finish();
    let path = parts.uri.path();
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    parts.uri = uri.parse().map_err(|_| "the path cannot be read".to_owned())?;
    Ok(())
}

/// Terms that name a namespace.
fn field_selector(selector: &str, objects: &Objects, naming: &Naming) -> Result<String, String> {
    let terms = selector.split(',').map(|term| {
        let at = term.find(['=', '!']).unwrap_or(term.len());
        let (field, rest) = term.split_at(at);
        let value = rest.trim_start_matches(['=', '!']);
        let operator = &rest[..rest.len() - value.len()];
        let is_namespace = field.ends_with(".namespace") || (objects.are_namespaces() && field == "metadata.name");
        if !is_namespace || value.is_empty() {
            return Ok(term.to_owned());
        }
        Ok(format!("{field}{operator}{}", naming.real(value).map_err(|error| error.to_string())?))
    });
    terms.collect::<Result<Vec<_>, String>>().map(|terms| terms.join(","))
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;
    use crate::gate::target::Target;

    fn mapped(method: Method, uri: &str) -> String {
        let (mut parts, ()) = Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        let Target::Objects(objects) = Target::of(parts.uri.path()) else { panic!("{uri}") };
        let naming = Naming::mapped("0123456789", None);
        let mut on_cluster = objects.clone();
        on_cluster.namespace = objects.namespace.as_deref().map(|name| naming.real(name).unwrap());
        if objects.are_namespaces() {
            on_cluster.name = objects.name.as_deref().map(|name| naming.real(name).unwrap());
        }
        map(&mut parts, &objects, &on_cluster, &naming, "0123456789").unwrap();
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query: Vec<_> = query.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {}", parts.uri.path(), query.join(" ")).trim_end().to_owned()
    }

    #[test]
    fn the_words_of_a_command_stay_in_their_order() {
        let exec = "/api/v1/namespaces/taiga/pods/db/exec?command=sh&command=-c&command=echo+a%26b&stdin=true";
        let on_cluster =
            "/api/v1/namespaces/rd-0123456789-taiga/pods/db/exec command=sh command=-c command=echo a&b stdin=true";
        assert_eq!(mapped(Method::GET, exec), on_cluster);
    }

    #[test]
    fn what_is_asked_of_several_namespaces_does_not_come_in_pages() {
        let uri = "/api/v1/namespaces/a/pods?limit=500&labelSelector=a%3Db&continue=x";
        let (mut parts, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
        all_at_once(&mut parts).unwrap();
        assert_eq!(parts.uri, "/api/v1/namespaces/a/pods?labelSelector=a%3Db");
        all_at_once(&mut parts).unwrap();
        let (mut parts, ()) = Request::builder().uri("/api/v1/pods?limit=500").body(()).unwrap().into_parts();
        all_at_once(&mut parts).unwrap();
        assert_eq!(parts.uri, "/api/v1/pods");
    }

    #[test]
    fn only_the_drill_s_namespaces_are_listed_and_what_closes_it_is_not_deleted() {
        assert_eq!(
            mapped(Method::GET, "/api/v1/namespaces"),
            "/api/v1/namespaces labelSelector=redrill.dev/drill=0123456789,redrill.dev/own!=true"
        );
        let one = "/api/v1/namespaces?fieldSelector=metadata.name%3Dtaiga&labelSelector=a%3Db&watch=true";
        let expected = "/api/v1/namespaces fieldSelector=metadata.name=rd-0123456789-taiga \
                        labelSelector=a=b,redrill.dev/drill=0123456789,redrill.dev/own!=true watch=true";
        assert_eq!(mapped(Method::GET, one), expected);
        let all = "/api/v1/namespaces/taiga/configmaps";
        let expected = "/api/v1/namespaces/rd-0123456789-taiga/configmaps labelSelector=redrill.dev/own!=true";
        assert_eq!(mapped(Method::DELETE, all), expected);
        let events =
            "/api/v1/namespaces/taiga/events?fieldSelector=involvedObject.namespace%3Dtaiga%2CinvolvedObject.name%3Dx";
        assert!(
            mapped(Method::GET, events).ends_with("involvedObject.namespace=rd-0123456789-taiga,involvedObject.name=x")
        );
    }
}
