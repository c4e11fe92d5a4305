"""The machine under the site: packages, files, services, users. Reaches no other folder of these."""
