//! The client: the only place that connects.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{StatusCode, redirect};

use super::input::Request;
use super::{
    AddressPolicy, HttpConfig, HttpError, HttpInput, HttpOutput, Refused, check_url, response,
};

tokio::task_local! {
    /// Whether a server redirected the request at hand to something else, which it may do once it
    /// has done what it was asked for.
    static LED_ON: Cell<bool>;
}

/// Makes requests within what an operator allows.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    config: Arc<HttpConfig>,
}

impl HttpClient {
    /// Prepares a client; connections are kept and used again.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn new(config: HttpConfig) -> Result<Self, reqwest::Error> {
        let config = Arc::new(config);
        let for_redirects = Arc::clone(&config);
        let client = reqwest::Client::builder()
            .no_proxy()
            .referer(false)
            .user_agent(concat!("skep-http/", env!("CARGO_PKG_VERSION")))
            .timeout(config.max_time)
            .dns_resolver(Arc::new(PublicResolver(config.addresses.clone())))
            .redirect(redirect::Policy::custom(move |attempt| {
                if !is_passed_on(attempt.status()) {
                    LED_ON.with(|led_on| led_on.set(true));
                }
                let hops = attempt.previous().len();
                if hops > for_redirects.max_redirects {
                    return attempt.error(Refused::TooManyRedirects(for_redirects.max_redirects));
                }
                match check_url(attempt.url(), &for_redirects) {
                    Ok(()) => attempt.follow(),
                    Err(refused) => attempt.error(refused),
                }
            }))
            .build()?;
        Ok(Self { client, config })
    }

    /// Makes one request and reads its response to the end.
    ///
    /// # Errors
    /// [`HttpError`]
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the server may have received the request.
    pub async fn send(
        &self,
        input: &HttpInput,
        idempotency_key: &str,
    ) -> Result<HttpOutput, HttpError> {
        let request = input.request(idempotency_key)?;
        check_url(&request.url, &self.config)?;
        let is_safe = request.method.is_safe();
        let exchange = async {
            let outcome = self.exchange(input, request).await;
            // Safe methods do nothing.
            if is_safe { outcome } else { outcome.map_err(unclear) }
        };
        LED_ON.scope(Cell::new(false), exchange).await
    }

    async fn exchange(&self, input: &HttpInput, request: Request) -> Result<HttpOutput, HttpError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let mut builder = self.client.request(request.method, request.url);
        builder = builder.headers(request.headers);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let explain = |error| self.explain(&host, error);
        let mut answer = builder.send().await.map_err(explain)?;
        let mut body = Vec::new();
        let too_large = || HttpError::BodyTooLarge { limit: self.config.max_body };
        if answer.content_length().is_some_and(|length| length > self.config.max_body as u64) {
            return Err(too_large());
        }
        while let Some(chunk) = answer.chunk().await.map_err(explain)? {
            if body.len() + chunk.len() > self.config.max_body {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        response::judge(input, &host, answer.status().as_u16(), answer.headers(), &body)
    }

    fn explain(&self, host: &str, error: reqwest::Error) -> HttpError {
        let error = error.without_url();
        if let Some(refused) = refused(&error) {
            return HttpError::Refused(refused);
        }
        let host = host.to_owned();
        if error.is_timeout() {
            return HttpError::TimedOut { host, within: self.config.max_time };
        }
        HttpError::Transport { host, source: error }
    }
}

/// Says that a server may have done it all the same, if that is so.
fn unclear(error: HttpError) -> HttpError {
    let led_on = LED_ON.with(Cell::get);
    if led_on || error.leaves_doubt() { HttpError::Unclear(Box::new(error)) } else { error }
}

/// Tells whether a redirect asks for the same request elsewhere: nothing was done here.
const fn is_passed_on(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Finds our own refusal among the causes of an error.
fn refused(error: &reqwest::Error) -> Option<Refused> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(refused.clone());
        }
        cause = error.source();
    }
    None
}

/// Resolves names to addresses that may be reached. The addresses it returns are the ones that are
/// connected to, so a name that changes its mind in between gains nothing.
#[derive(Debug)]
struct PublicResolver(AddressPolicy);

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(reachable(&policy, host, found)?.into_iter()) as Addrs)
        })
    }
}

fn reachable(
    policy: &AddressPolicy,
    host: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Refused> {
    let (allowed, refused): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| policy.allows(address.ip()));
    match (allowed.is_empty(), refused.first()) {
        (true, Some(address)) => {
            Err(Refused::Address { host: host.to_owned(), address: address.ip() })
        }
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_addresses_of_both_kinds_reaches_the_public_ones() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let policy = AddressPolicy::default();
        let found = addresses(&["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"]);
        assert_eq!(reachable(&policy, "both", found), Ok(addresses(&["1.1.1.1:0"])));
        let found = addresses(&["10.0.0.1:0", "[::1]:0"]);
        let refused = Refused::Address { host: "inside".into(), address: [10, 0, 0, 1].into() };
        assert_eq!(reachable(&policy, "inside", found), Err(refused));
    }
}
