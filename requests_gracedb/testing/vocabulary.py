"""The names that GraceDB knows: what its root lists."""

SERVER_VERSION = "2.36.0"
API_VERSIONS = ("default", "v1", "v2")

GROUPS = ("CBC", "Burst", "Test", "External")
PIPELINES = (
    "gstlal", "pycbc", "MBTA", "MBTAOnline", "spiir", "cWB", "CWB", "oLIB", "MLy", "aframe",
    "HardwareInjection", "Fermi", "Swift", "INTEGRAL", "AGILE", "IceCube", "SNEWS",
)
DISABLED_PIPELINES = ("gstlal-spiir",)
SEARCHES = (
    "AllSky", "EarlyWarning", "LowMass", "HighMass", "SSM", "BBH", "MDC", "GRB", "SubGRB",
    "Supernova", "VTInjection",
)
LABELS = (
    "INJ", "DQV", "EM_READY", "EM_SENT", "EM_Selected", "SKYMAP_READY", "EMBRIGHT_READY",
    "PASTRO_READY", "PE_READY", "ADVREQ", "ADVOK", "ADVNO", "H1OPS", "H1OK", "H1NO", "L1OPS",
    "L1OK", "L1NO", "V1OPS", "V1OK", "V1NO", "DQOK", "SIGNIF_LOCKED", "LOW_SIGNIF_LOCKED",
    "EARLY_WARNING", "RAVEN_ALERT", "EM_COINC", "EXT_SKYMAP_READY", "GCN_PRELIM_SENT",
    "HIGH_PROFILE", "NO_INJ", "LOW_SIGNIF_PRELIM_SENT", "CLEANUP_COMPLETE",
)
TAGS = {
    "analyst_comments": "Analyst Comments", "em_follow": "EM Followup", "psd": "Noise Curves",
    "data_quality": "Data Quality", "sky_loc": "Sky Localization", "background": "Background",
    "ext_coinc": "External Coincidence", "strain": "Strain", "tfplots": "Time-Frequency Info",
    "sig_info": "Significance Info", "audio": "Sound Files", "em_bright": "EM Bright",
    "p_astro": "p_astro", "public": "Public",
}

PRODUCTION, TEST, MDC = "Production", "Test", "MDC"
CATEGORIES = {"P": PRODUCTION, "T": TEST, "M": MDC}
SIGNOFF_TYPES = {"OP": "operator", "ADV": "advocate"}
SIGNOFF_STATUSES = {"OK": "OKAY", "NO": "NOT OKAY"}
INSTRUMENTS = {"H1": "LHO", "L1": "LLO", "V1": "Virgo"}
VOEVENT_TYPES = {
    "PR": "preliminary", "IN": "initial", "UP": "update", "RE": "retraction", "EW": "earlywarning"
}
EM_GROUPS = ("ATLAS", "GOTO", "Swift", "ZTF")
