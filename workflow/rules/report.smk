# Both run beside the workflow, never as jobs elsewhere: a process that Snakemake started elsewhere has no plan.
if HEADRACE.plan:

    rule report:
        input:
            HEADRACE.needs("report", HEADRACE.last("report")),
        output:
            receipt=HEADRACE.receipt("report", HEADRACE.last("report")),
            page=report(
                HEADRACE.result("report.html"),
                caption="../report/report.rst",
                category="Results",
                labels={"experiment": HEADRACE.plan.experiment.name},
            ),
            table=report(
                HEADRACE.result("results.csv"),
                caption="../report/results.rst",
                category="Results",
                labels={"experiment": HEADRACE.plan.experiment.name},
            ),
            figures=report(
                directory(HEADRACE.figures(HEADRACE.last("report"))),
                patterns=["{section,[a-z_]+}-{figure}.svg"],
                caption="../report/figures.rst",
                category="Figures",
                subcategory="{section}",
                labels={
                    "experiment": HEADRACE.plan.experiment.name,
                    "figure": "{figure}",
                },
            ),
        log:
            HEADRACE.log("report", HEADRACE.last("report")),
        conda:
            "../../envs/headrace.yaml"
        threads: 1
        resources:
            mem_mb=4096,
            runtime=60,
        params:
            plan=HEADRACE.plan.digest,
        shell:
            "headrace report {output.receipt:q} > {log:q} 2>&1"

    rule gate:
        input:
            HEADRACE.needs("gate", HEADRACE.last("gate")),
        output:
            HEADRACE.receipt("gate", HEADRACE.last("gate")),
        log:
            HEADRACE.log("gate", HEADRACE.last("gate")),
        conda:
            "../../envs/headrace.yaml"
        threads: 1
        resources:
            mem_mb=1024,
            runtime=10,
        params:
            plan=HEADRACE.plan.digest,
        shell:
            "headrace gate {output:q} > {log:q} 2>&1"


rule collect:
    log:
        HEADRACE.log("report", "collect"),
    conda:
        "../../envs/headrace.yaml"
    threads: 1
    resources:
        mem_mb=1024,
        runtime=10,
    params:
        results=HEADRACE.site.results,
    shell:
        "headrace collect --results {params.results:q} > {log:q} 2>&1"
