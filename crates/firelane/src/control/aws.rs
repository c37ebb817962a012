//! `firelane aws`: the local AWS endpoint, until it is told to stop.

use std::path::PathBuf;
use std::time::Duration;

use firelane_cloud::{
    Credentials, Endpoint, Fault, Faults, Limits, Missing, Options, Service, Share, StartError,
};

use crate::exit::Exit;
use crate::log::{self, Verbosity};
use crate::report;
use crate::say;
use crate::signals::{Signal, Signals};

/// The variable that says what `--credentials` says.
const CREDENTIALS: &str = "FIRELANE_AWS_CREDENTIALS";

/// How the endpoint runs.
#[derive(Debug, clap::Args)]
pub(crate) struct AwsArgs {
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    listen: String,
    /// Folder of the data, kept between runs; without it a temporary one, removed at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Account in ARNs, 12 digits.
    #[arg(long, value_name = "ID", default_value = "123456789012")]
    account: String,
    /// Region in ARNs; resources are the same in all regions.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// A stream, group or bucket that does not exist: refuse the request as AWS does, or make it.
    #[arg(long, value_enum, default_value = "refuse")]
    missing: OnMissing,
    /// Limits of Kinesis: 10 MiB a record and a request, or (`classic`) 1 MiB and 5 MiB.
    #[arg(long, value_enum, default_value = "current")]
    limits: WhichLimits,
    /// Verify signatures with these; without it any signature is taken. The variable
    /// `FIRELANE_AWS_CREDENTIALS` says the same, where others cannot read it.
    #[arg(long, value_name = "AKID:SECRET", value_parser = credentials)]
    credentials: Option<Credentials>,
    #[command(flatten)]
    faults: FaultArgs,
    /// Seed of the faults: the same seed and the same requests fail the same way.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OnMissing {
    Refuse,
    Create,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WhichLimits {
    Current,
    Classic,
}

/// Faults on demand. Each takes `20%` for all services, or `kinesis=5%` for one; repeatable, or with commas.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Requests that are throttled, each service in its own words.
    #[arg(long, value_name = "[SERVICE=]PERCENT", value_delimiter = ',', value_parser = share)]
    throttle: Vec<Wish>,
    /// Records of PutRecords and PutRecordBatch that fail by themselves.
    #[arg(long, value_name = "[SERVICE=]PERCENT", value_delimiter = ',', value_parser = share)]
    partial: Vec<Wish>,
    /// Requests that fail with a 5xx.
    #[arg(long, value_name = "[SERVICE=]PERCENT", value_delimiter = ',', value_parser = share)]
    error: Vec<Wish>,
    /// Requests that get no answer: nothing is done, and the connection stays open until the client gives up.
    #[arg(long, value_name = "[SERVICE=]PERCENT", value_delimiter = ',', value_parser = share)]
    hang: Vec<Wish>,
    /// Requests whose credentials are said to have expired.
    #[arg(long, value_name = "[SERVICE=]PERCENT", value_delimiter = ',', value_parser = share)]
    expired: Vec<Wish>,
    /// Requests that are carried out, and whose connection then closes without an answer.
    #[arg(long, value_name = "[SERVICE=]PERCENT", value_delimiter = ',', value_parser = share)]
    lost: Vec<Wish>,
}

/// A share of one service, or of all.
#[derive(Debug, Clone, Copy)]
struct Wish {
    service: Option<Service>,
    share: Share,
}

fn share(text: &str) -> Result<Wish, String> {
    let (service, share) = match text.split_once('=') {
        Some((name, share)) => {
            let service = name
                .trim()
                .parse::<Service>()
                .map_err(|error| error.to_string())?;
            (Some(service), share)
        }
        None => (None, text),
    };
    let share = share.parse::<Share>().map_err(|error| error.to_string())?;
    Ok(Wish { service, share })
}

fn credentials(text: &str) -> Result<Credentials, String> {
    let (access_key, secret_key) = text.split_once(':').ok_or("write AKID:SECRET")?;
    if access_key.is_empty() || secret_key.is_empty() {
        return Err("write AKID:SECRET".into());
    }
    Ok(Credentials {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        token: None,
        expires_ms: None,
    })
}

impl FaultArgs {
    fn faults(&self) -> Faults {
        let mut faults = Faults::none();
        for (fault, wishes) in [
            (Fault::Throttle, &self.throttle),
            (Fault::Partial, &self.partial),
            (Fault::Error, &self.error),
            (Fault::Hang, &self.hang),
            (Fault::Expired, &self.expired),
            (Fault::Lost, &self.lost),
        ] {
            for wish in wishes {
                faults.set(wish.service, fault, wish.share);
            }
        }
        faults
    }
}

/// Runs it.
pub(crate) fn run(mut args: AwsArgs) -> Exit {
    let variable = std::env::var(CREDENTIALS).ok().filter(|text| !text.is_empty());
    if let (None, Some(text)) = (&args.credentials, variable) {
        match credentials(&text) {
            Ok(credentials) => args.credentials = Some(credentials),
            Err(why) => {
                report::usage(&format!("the variable {CREDENTIALS}: {why}"));
                return Exit::Usage;
            }
        }
    }
    log::start(Verbosity::Warn, None);
    let workers = crate::cpu::workers();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            say::line(&format!("error[FL0030]: cannot start threads: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(serve(args));
    runtime.shutdown_timeout(Duration::from_millis(200));
    exit
}

async fn serve(args: AwsArgs) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            say::line(&format!("error[FL0030]: cannot listen for signals: {error}"));
            return Exit::Failed;
        }
    };
    let options = Options {
        faults: args.faults.faults(),
        data: args.data,
        account: args.account,
        region: args.region,
        missing: match args.missing {
            OnMissing::Refuse => Missing::Refuse,
            OnMissing::Create => Missing::Create,
        },
        limits: match args.limits {
            WhichLimits::Current => Limits::Current,
            WhichLimits::Classic => Limits::Classic,
        },
        seed: args.seed,
        credentials: args.credentials,
    };
    let (region, credentials) = (options.region.clone(), options.credentials.clone());
    let endpoint = match Endpoint::start(&args.listen, options).await {
        Ok(endpoint) => endpoint,
        Err(error) => return refused(&error),
    };
    if !endpoint.address().ip().is_loopback() {
        say::line(&format!(
            "warning: it listens on {}: who reaches it can read and write everything{}",
            endpoint.address(),
            if credentials.is_some() {
                " with the credentials"
            } else {
                ""
            }
        ));
    }
    greet(&endpoint, &region, credentials.as_ref());
    loop {
        // There is nothing to read again: a hang-up changes nothing.
        if let Signal::Stop(_) = signals.next().await {
            break;
        }
    }
    tell_faults(&endpoint);
    match endpoint.stop().await {
        Ok(()) => Exit::Ok,
        Err(error) => {
            say::line(&format!(
                "error[FL0032]: not everything could be written: {error}"
            ));
            Exit::LeftOver
        }
    }
}

fn refused(error: &StartError) -> Exit {
    let (help, exit) = match error {
        StartError::Bind { .. } => (
            "another port: `--listen 127.0.0.1:0` takes a free one",
            Exit::Open,
        ),
        StartError::Account(_) | StartError::Region(_) => {
            ("`firelane aws --help` lists the options", Exit::Usage)
        }
        _ => (
            "another folder: `--data DIR`, or none for a temporary one",
            Exit::Open,
        ),
    };
    say::line(&format!("error[FL0031]: {error}\n   help: {help}"));
    exit
}

/// Prints the address and what programs need to use it.
fn greet(endpoint: &Endpoint, region: &str, credentials: Option<&Credentials>) {
    let (key, secret) = match credentials {
        Some(credentials) => (credentials.access_key.as_str(), "<its secret key>"),
        None => ("test", "test"),
    };
    let text = format!(
        "# the local AWS endpoint; data in {}\n\
         export AWS_ENDPOINT_URL={}\n\
         export AWS_ACCESS_KEY_ID={key}\n\
         export AWS_SECRET_ACCESS_KEY={secret}\n\
         export AWS_REGION={region}\n\
         export AWS_DEFAULT_REGION={region}\n",
        endpoint.cloud().folder().display(),
        endpoint.url()
    );
    say::out(&text);
}

/// Says how many faults there were.
fn tell_faults(endpoint: &Endpoint) {
    let injected = endpoint.cloud().injected();
    if injected.is_empty() {
        return;
    }
    let parts = injected
        .iter()
        .map(|((service, fault), count)| format!("{service} {} {count}", fault.name()));
    say::line(&format!("faults: {}", parts.collect::<Vec<_>>().join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_all_or_of_one() {
        let one = share("kinesis=0.5%").unwrap();
        assert_eq!(one.service, Some(Service::Kinesis));
        assert_eq!(one.share.as_percent(), 0.5);
        assert_eq!(share("20%").unwrap().service, None);
        assert!(share("sqs=1%").unwrap_err().contains("there is no service `sqs`"));
        assert!(share("kinesis=much").unwrap_err().contains("`much` is no share"));
    }
}
